"""Programs that take more than their limits allow; each is Python for `python3 -c`."""

from __future__ import annotations

# Six processes hold 40 MiB each.
MEMORY = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20)) * 40
        time.sleep(60)
time.sleep(60)
"""
# Forks until that is refused, and prints how often it was not.
FORKS = """
import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError:
    print(made)
"""
# Two processes that take as much processor time as they get until they have had 0.3 s each.
SPIN = """
import os, time
is_parent = os.fork() > 0
while time.process_time() < 0.3:
    pass
if is_parent:
    os.wait()
"""
