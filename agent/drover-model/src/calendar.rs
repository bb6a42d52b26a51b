//! Calendars: days that policies know by the name of a document.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use crate::{CalendarName, SourceSpan, Timestamp, Zone};

/// A Calendar document.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// The name.
    pub name: CalendarName,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// Whose clocks say which day it is.
    pub zone: Zone,
    /// The days.
    pub days: Vec<CalendarDays>,
    /// A digest of the document's text as written, in hexadecimal.
    pub digest: String,
}

/// One or several days in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarDays {
    /// The first.
    pub first: Day,
    /// The last, which belongs to them. Of the same form as the first.
    pub last: Day,
    /// What people call them.
    pub name: Option<String>,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// Of one year: `2026-04-03`.
    Once(Date),
    /// Of every year: `12-25`. The 29th of February is only in years that have it.
    Yearly {
        /// From 1.
        month: i8,
        /// From 1.
        day: i8,
    },
}

/// A text is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a day such as \"2026-04-03\" or, every year, \"12-25\"")]
pub struct DayError;

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let digits = |text: &str, count: usize| {
            let fits = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| text.parse::<i16>().ok()).flatten()
        };
        let small = |text: &str| digits(text, 2).and_then(|number| i8::try_from(number).ok());
        let parts: Vec<&str> = text.split('-').collect();
        let day = match parts.as_slice() {
            [year, month, day] => {
                let (year, month, day) = (digits(year, 4), small(month), small(day));
                let date = year.zip(month).zip(day);
                date.and_then(|((year, month), day)| Date::new(year, month, day).ok())
                    .map(Self::Once)
            }
            // A leap year, so that the 29th of February is a day.
            [month, day] => small(month)
                .zip(small(day))
                .filter(|(month, day)| Date::new(2000, *month, *day).is_ok())
                .map(|(month, day)| Self::Yearly { month, day }),
            _ => None,
        };
        day.ok_or(DayError)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(date) => write!(f, "{date}"),
            Self::Yearly { month, day } => write!(f, "{month:02}-{day:02}"),
        }
    }
}

impl CalendarDays {
    /// Returns whether they are in a possible order and of one form. Days of every year may go on into the
    /// next one.
    pub fn is_possible(&self) -> bool {
        match (self.first, self.last) {
            (Day::Once(first), Day::Once(last)) => first <= last,
            (Day::Yearly { .. }, Day::Yearly { .. }) => true,
            (Day::Once(_), Day::Yearly { .. }) | (Day::Yearly { .. }, Day::Once(_)) => false,
        }
    }

    /// Returns whether a date is one of them.
    pub fn contains(&self, date: Date) -> bool {
        match (self.first, self.last) {
            (Day::Once(first), Day::Once(last)) => first <= date && date <= last,
            (
                Day::Yearly { month, day },
                Day::Yearly {
                    month: last_month,
                    day: last_day,
                },
            ) => {
                let (first, last) = ((month, day), (last_month, last_day));
                let here = (date.month(), date.day());
                if first <= last {
                    first <= here && here <= last
                } else {
                    first <= here || here <= last
                }
            }
            (Day::Once(_), Day::Yearly { .. }) | (Day::Yearly { .. }, Day::Once(_)) => false,
        }
    }
}

impl Calendar {
    /// Returns the entry that the day at `now` belongs to, on the clocks of the calendar's zone.
    pub fn entry_at(&self, now: Timestamp) -> Option<&CalendarDays> {
        let date = self.zone.civil(now).date();
        self.days.iter().find(|days| days.contains(date))
    }
}

#[cfg(test)]
mod tests;
