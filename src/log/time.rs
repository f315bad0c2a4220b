//! Wall clock times as nginx writes them.

use super::json::digit;
use crate::base::time::Wall;

/// Bytes of `2023-11-10T23:09:04+00:00`.
pub const ISO8601_BYTES: usize = 25;
/// Bytes of `10/Nov/2023:23:09:04 +0000`.
pub const LOCAL_BYTES: usize = 26;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const SECONDS_PER_DAY: i64 = 86_400;

/// The two texts of one second; written again only when the second or the zone changes.
#[derive(Clone, Debug)]
pub struct SecondTexts {
    key: (u64, i32),
    iso8601: [u8; ISO8601_BYTES],
    local: [u8; LOCAL_BYTES],
}

impl Default for SecondTexts {
    fn default() -> Self {
        Self::of((0, 0))
    }
}

impl SecondTexts {
    /// `$time_iso8601`.
    pub fn iso8601(&mut self, wall: Wall) -> &[u8] {
        &self.at(wall).iso8601
    }

    /// `$time_local`.
    pub fn local(&mut self, wall: Wall) -> &[u8] {
        &self.at(wall).local
    }

    fn at(&mut self, wall: Wall) -> &Self {
        let key = (wall.unix_s(), wall.utc_offset_min);
        if self.key != key {
            *self = Self::of(key);
        }
        self
    }

    fn of(key: (u64, i32)) -> Self {
        let civil = Civil::of(key.0 as i64 + i64::from(key.1) * 60);
        let zone = zone(key.1);
        let mut iso8601 = *b"yyyy-mm-ddThh:mm:ss+zz:zz";
        put4(&mut iso8601[0..4], civil.year);
        put2(&mut iso8601[5..7], civil.month);
        put2(&mut iso8601[8..10], civil.day);
        put_clock(&mut iso8601[11..19], civil.second);
        iso8601[19..22].copy_from_slice(&zone[..3]);
        iso8601[23..25].copy_from_slice(&zone[3..]);
        let mut local = *b"dd/mmm/yyyy:hh:mm:ss +zzzz";
        put2(&mut local[0..2], civil.day);
        local[3..6].copy_from_slice(MONTHS[civil.month as usize - 1]);
        put4(&mut local[7..11], civil.year);
        put_clock(&mut local[12..20], civil.second);
        local[21..26].copy_from_slice(&zone);
        Self { key, iso8601, local }
    }
}

/// `1699596164.550`: seconds and milliseconds.
pub fn msec(wall: Wall, text: &mut Vec<u8>) {
    let ms = wall.unix_ms();
    text.extend_from_slice(itoa::Buffer::new().format(ms / 1_000).as_bytes());
    text.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms)]);
}

/// A day of the Gregorian calendar and the second in it.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Civil {
    /// Counts in years that begin on 1 March, so that the leap day is the last; 400 such years have 146,097 days.
    fn of(unix_s: i64) -> Self {
        // 719,468 days lie between 1 March of year 0 and 1970; what comes before is not a time that a clock shows.
        let days = (unix_s.div_euclid(SECONDS_PER_DAY) + 719_468).max(0) as u64;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second: unix_s.rem_euclid(SECONDS_PER_DAY) as u64,
        }
    }
}

/// `+0130`.
fn zone(offset_min: i32) -> [u8; 5] {
    let minutes = u64::from(offset_min.unsigned_abs());
    let mut text = *b"+hhmm";
    if offset_min < 0 {
        text[0] = b'-';
    }
    put2(&mut text[1..3], minutes / 60);
    put2(&mut text[3..5], minutes % 60);
    text
}

fn put2(text: &mut [u8], value: u64) {
    text.copy_from_slice(&[digit(value / 10), digit(value)]);
}

fn put4(text: &mut [u8], value: u64) {
    text.copy_from_slice(&[digit(value / 1_000), digit(value / 100), digit(value / 10), digit(value)]);
}

/// `hh:mm:ss`; the colons are there.
fn put_clock(text: &mut [u8], second: u64) {
    put2(&mut text[0..2], second / 3_600);
    put2(&mut text[3..5], second / 60 % 60);
    put2(&mut text[6..8], second % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(unix_s: u64, utc_offset_min: i32) -> (String, String) {
        let wall = Wall { unix_us: unix_s * 1_000_000 + 999_999, utc_offset_min };
        let mut texts = SecondTexts::default();
        let iso = String::from_utf8(texts.iso8601(wall).to_vec()).unwrap();
        (iso, String::from_utf8(texts.local(wall).to_vec()).unwrap())
    }

    #[test]
    fn times_are_written_as_nginx_does() {
        let both = |iso: &str, local: &str| (iso.to_owned(), local.to_owned());
        assert_eq!(texts(1_699_657_744, 0), both("2023-11-10T23:09:04+00:00", "10/Nov/2023:23:09:04 +0000"));
        assert_eq!(texts(1_699_657_744, 90), both("2023-11-11T00:39:04+01:30", "11/Nov/2023:00:39:04 +0130"));
        assert_eq!(texts(1_699_657_744, -480), both("2023-11-10T15:09:04-08:00", "10/Nov/2023:15:09:04 -0800"));
        assert_eq!(texts(951_782_400, 0).0, "2000-02-29T00:00:00+00:00");
        assert_eq!(texts(951_868_799, 0).0, "2000-02-29T23:59:59+00:00");
        assert_eq!(texts(4_107_542_399, 0).0, "2100-02-28T23:59:59+00:00");
        assert_eq!(texts(4_107_542_400, 0).0, "2100-03-01T00:00:00+00:00");
        assert_eq!(texts(0, 0).0, "1970-01-01T00:00:00+00:00");
        assert_eq!(texts(0, -60).0, "1969-12-31T23:00:00-01:00");
    }

    #[test]
    fn a_new_second_or_zone_writes_new_texts() {
        let mut texts = SecondTexts::default();
        let at = |unix_us, utc_offset_min| Wall { unix_us, utc_offset_min };
        assert_eq!(texts.iso8601(at(1_000_000, 0)), b"1970-01-01T00:00:01+00:00");
        assert_eq!(texts.iso8601(at(2_000_000, 0)), b"1970-01-01T00:00:02+00:00");
        assert_eq!(texts.iso8601(at(2_000_000, 60)), b"1970-01-01T01:00:02+01:00");
    }

    #[test]
    fn msec_always_has_three_digits_after_the_point() {
        let mut text = Vec::new();
        msec(Wall { unix_us: 1_699_596_164_050_999, utc_offset_min: 0 }, &mut text);
        assert_eq!(text, b"1699596164.050");
    }
}
