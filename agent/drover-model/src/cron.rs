//! Cron expressions of five fields: which minutes of a civil calendar they name.
//!
//! Own code, because the answer must be the same in a replay years later and must not depend on a
//! clock: an expression names civil minutes, and [`Window`](crate::Window) says what they are in time.

use std::fmt;

use jiff::civil::{Date, DateTime};

/// How far an expression is searched for its next minute: a 29 February on a given weekday comes back
/// after at most 40 years, across a century without a leap day.
const SEARCH_DAYS_MAX: u32 = 41 * 366;

/// A cron expression: minute, hour, day of the month, month, day of the week.
///
/// Each field is `*`, a number, a range `a-b`, any of them with a step `/n`, or a list of those.
/// Months and days of the week have names (`JAN`, `MON`), and 7 is Sunday as 0 is. Where both days
/// are restricted, either is enough, as cron has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There are not five fields.
    #[error("must have five fields (minute hour day month weekday), found {0}")]
    Fields(usize),
    /// A field cannot be read.
    #[error(
        "has {what:?} as {field}, which must be {min} to {max}, `*`, a range, a step or a list"
    )]
    Field {
        /// Which field.
        field: &'static str,
        /// What stands there.
        what: String,
        /// The smallest number.
        min: u32,
        /// The largest number.
        max: u32,
    },
    /// No date is ever named.
    #[error("names no date that exists")]
    Never,
}

struct Form {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FORMS: [Form; 5] = [
    Form {
        name: "the minute",
        min: 0,
        max: 59,
        names: &[],
    },
    Form {
        name: "the hour",
        min: 0,
        max: 23,
        names: &[],
    },
    Form {
        name: "the day of the month",
        min: 1,
        max: 31,
        names: &[],
    },
    Form {
        name: "the month",
        min: 1,
        max: 12,
        names: &MONTHS,
    },
    Form {
        name: "the day of the week",
        min: 0,
        max: 7,
        names: &WEEKDAYS,
    },
];

impl Cron {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// [`CronError`] says which field is wrong, or that no date is ever named.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let weekdays = FORMS[4].bits(weekday)?;
        let cron = Self {
            text: fields.join(" "),
            minutes: FORMS[0].bits(minute)?,
            hours: FORMS[1].bits(hour)?,
            days: FORMS[2].bits(day)?,
            months: FORMS[3].bits(month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let leap = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
        match cron.next_from(leap) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never),
        }
    }

    /// Returns the expression as written, with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the minute that `at` lies in is named.
    pub fn matches(&self, at: DateTime) -> bool {
        self.names_day(at.date()) && has(self.hours, at.hour()) && has(self.minutes, at.minute())
    }

    fn names_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let days = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        days && has(self.months, date.month())
    }

    /// Returns the first named minute at or after `from`.
    pub fn next_from(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let partial = from.second() > 0 || from.subsec_nanosecond() > 0;
        let mut earliest = u32::from(from.hour().unsigned_abs()) * 60
            + u32::from(from.minute().unsigned_abs())
            + u32::from(partial);
        for _ in 0..SEARCH_DAYS_MAX {
            if self.names_day(date)
                && let Some(at) = (earliest..24 * 60).find(|minute| self.names_minute(*minute))
            {
                return at_minute(date, at);
            }
            earliest = 0;
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Returns the last named minute at or before `until`.
    pub fn last_until(&self, until: DateTime) -> Option<DateTime> {
        let mut date = until.date();
        let mut latest =
            u32::from(until.hour().unsigned_abs()) * 60 + u32::from(until.minute().unsigned_abs());
        for _ in 0..SEARCH_DAYS_MAX {
            if self.names_day(date)
                && let Some(at) = (0..=latest).rev().find(|minute| self.names_minute(*minute))
            {
                return at_minute(date, at);
            }
            latest = 24 * 60 - 1;
            date = date.yesterday().ok()?;
        }
        None
    }

    fn names_minute(&self, of_day: u32) -> bool {
        self.hours >> (of_day / 60) & 1 == 1 && self.minutes >> (of_day % 60) & 1 == 1
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn at_minute(date: Date, of_day: u32) -> Option<DateTime> {
    let (hour, minute) = (of_day / 60, of_day % 60);
    Some(date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0))
}

fn has(bits: u64, number: i8) -> bool {
    bits >> number.unsigned_abs() & 1 == 1
}

impl Form {
    fn bits(&self, text: &str) -> Result<u64, CronError> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part).ok_or_else(|| CronError::Field {
                field: self.name,
                what: text.to_owned(),
                min: self.min,
                max: self.max,
            })?;
        }
        Ok(bits)
    }

    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            // `5/15` runs on from there, as cron has it.
            None if step.is_some() => (self.number(range)?, self.max),
            None => (self.number(range)?, self.number(range)?),
        };
        if first > last {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        Some(
            (first..=last)
                .step_by(step)
                .fold(0, |bits, at| bits | 1 << at),
        )
    }

    fn number(&self, text: &str) -> Option<u32> {
        let upper = text.to_ascii_uppercase();
        let named = self.names.iter().position(|name| *name == upper);
        let found = match named {
            Some(position) => u32::try_from(position).ok()? + self.min,
            None => number(text)?,
        };
        (self.min..=self.max).contains(&found).then_some(found)
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
