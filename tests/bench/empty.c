/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of any program: starts and ends. */
int main(void)
{
	return 0;
}
