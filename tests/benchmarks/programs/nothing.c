// SPDX-License-Identifier: Apache-2.0
/* nothing.c - the program whose own cost is least. */
int main(void)
{
	return 0;
}
