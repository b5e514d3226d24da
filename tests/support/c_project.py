"""Write a C project of some thirty files with a Makefile and tests of its own.

Used by the workload tests and by the demo: `python c_project.py DIRECTORY`.
"""

from __future__ import annotations

import sys
from pathlib import Path

BODIES = {
    "sum": "unsigned long r = 0; for (unsigned long i = 1; i <= n; i++) r += i; return r;",
    "product": "unsigned long r = 1; for (unsigned long i = 2; i <= n % 13; i++) r *= i; return r;",
    "fibonacci": "unsigned long a = 0, b = 1;"
    " while (n--) { unsigned long t = a + b; a = b; b = t; } return a;",
    "gcd": "unsigned long a = n, b = 360; while (b) { unsigned long t = a % b; a = b; b = t; }"
    " return a;",
    "power": "unsigned long r = 1; while (n--) r = r * 3 % 1000003; return r;",
    "prime": "for (unsigned long i = 2; i * i <= n; i++) { if (n % i == 0) return 0; }"
    " return n > 1;",
    "digits": "unsigned long r = 0; do r += n % 10; while (n /= 10); return r;",
    "reverse": "unsigned long r = 0; do r = r * 10 + n % 10; while (n /= 10); return r;",
    "collatz": "unsigned long r = 0; while (n > 1) { n = n % 2 ? 3 * n + 1 : n / 2; r++; }"
    " return r;",
    "triangle": "return n * (n + 1) / 2;",
    "popcount": "unsigned long r = 0; for (; n; n &= n - 1) r++; return r;",
    "rotate": "return (n << 7 | n >> 25) & 0xffffffff;",
}

MAKEFILE = """\
CFLAGS ?= -O1 -Wall -Wextra -Werror
OBJECTS := $(patsubst %.c,%.o,$(wildcard src/*.c))

all: calc
calc: $(OBJECTS)
\t$(CC) $(CFLAGS) -o $@ $^
src/%.o: src/%.c $(wildcard include/*.h)
\t$(CC) $(CFLAGS) -Iinclude -c -o $@ $<
check: calc
\t./calc 27 > calc.out
\tgrep -qx 'collatz(27) = 111' calc.out
\tgrep -qx 'fibonacci(27) = 196418' calc.out
\t@echo "checks passed"
clean:
\trm -f calc calc.out src/*.o
.PHONY: all check clean
"""


def files() -> dict[str, str]:
    """Return path and content of every file of the project."""
    found = {"Makefile": MAKEFILE}
    for name, body in BODIES.items():
        prototype = f"unsigned long calc_{name}(unsigned long n)"
        found[f"include/{name}.h"] = f"#pragma once\n{prototype};\n"
        found[f"src/{name}.c"] = f'#include "{name}.h"\n\n{prototype}\n{{\n\t{body}\n}}\n'
    includes = "".join(f'#include "{name}.h"\n' for name in BODIES)
    calls = "".join(f'\tprintf("{name}(%lu) = %lu\\n", n, calc_{name}(n));\n' for name in BODIES)
    found["src/main.c"] = (
        f"#include <stdio.h>\n#include <stdlib.h>\n{includes}\n"
        "int main(int argc, char **argv)\n{\n"
        "\tunsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;\n\n"
        f"{calls}\treturn 0;\n}}\n"
    )
    return found


def write(directory: Path) -> list[Path]:
    """Write the project into `directory` and return the files."""
    paths = []
    for name, text in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write(Path(sys.argv[1]))
