"""times_of_day: the seconds of a day that a cron expression matches, and the next and the last of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimesOfDay:
    """The seconds of a day that match: every combination of an hour, a minute and a second."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    def first(self) -> int:
        return self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]

    def last(self) -> int:
        return self.hours[-1] * 3600 + self.minutes[-1] * 60 + self.seconds[-1]

    def first_after(self, second: int) -> int | None:
        """The first match after a second of the day; None: not this day. `second` may be -1."""
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        hour, rest = divmod(second + 1, 3600)
        minute, second = divmod(rest, 60)
        if hour in hours:
            if minute in minutes and second <= seconds[-1]:
                return hour * 3600 + minute * 60 + seconds[bisect_left(seconds, second)]
            if minute < minutes[-1]:
                return hour * 3600 + minutes[bisect_right(minutes, minute)] * 60 + seconds[0]
        if hour < hours[-1]:
            return hours[bisect_right(hours, hour)] * 3600 + minutes[0] * 60 + seconds[0]
        return None

    def last_through(self, second: int) -> int | None:
        """The last match at or before a second of the day; None: not this day."""
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        if hour in hours:
            if minute in minutes and second >= seconds[0]:
                return hour * 3600 + minute * 60 + seconds[bisect_right(seconds, second) - 1]
            if minute > minutes[0]:
                return hour * 3600 + minutes[bisect_left(minutes, minute) - 1] * 60 + seconds[-1]
        if hour > hours[0]:
            return hours[bisect_left(hours, hour) - 1] * 3600 + minutes[-1] * 60 + seconds[-1]
        return None
