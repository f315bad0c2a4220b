//! Time as a value: the shell reads clocks (`io::clock`), everything else is handed the result.

/// A point on the monotonic clock, in nanoseconds since some start that only the shell knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(u64);

impl Mono {
    /// The point `ns` nanoseconds after the clock's start.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// The point `ms` milliseconds after the clock's start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Nanoseconds since the clock's start.
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// Milliseconds since the clock's start, rounded down.
    pub const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This point moved `ms` milliseconds into the future; stops at the end of the clock.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Nanoseconds from `earlier` to here; 0 if `earlier` is later.
    pub const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to here, rounded down; 0 if `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.ns_since(earlier) / 1_000_000
    }
}

/// A point on the wall clock, with the zone's offset at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_us: u64,
    /// Minutes that local time is ahead of UTC.
    pub utc_offset_min: i32,
}

impl Wall {
    /// Milliseconds since 1970, rounded down: Kafka's timestamp and the entry's `start_time`.
    pub const fn unix_ms(self) -> u64 {
        self.unix_us / 1_000
    }

    /// Seconds since 1970, rounded down.
    pub const fn unix_s(self) -> u64 {
        self.unix_us / 1_000_000
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines.
    pub mono: Mono,
    /// For what people and Kafka read.
    pub wall: Wall,
}

impl Now {
    /// What both clocks show at `mono`, if the wall clock goes on as it went: one clock read in place of two, and times of one exchange that
    /// agree with each other.
    #[must_use]
    pub const fn moved_to(self, mono: Mono) -> Self {
        let moved_us = mono.ns_since(self.mono) / 1_000;
        Self { mono, wall: Wall { unix_us: self.wall.unix_us + moved_us, ..self.wall } }
    }
}
