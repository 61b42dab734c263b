# SPDX-License-Identifier: Apache-2.0
foreach(test cni_request_test cni_plan_test cni_result_test cni_devinfo_test cni_device_test)
  spur_unit_test(${test} cni_core)
endforeach()
foreach(file cni_attach cni_sweep cni_trouble)
  spur_python_tests(netns ${file})
endforeach()
