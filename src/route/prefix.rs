//! Prefixes in order: finds every stored prefix of a key, the longest first, by one binary search. Paths are stored as they are, wildcard
//! hosts reversed.

use std::cmp::Ordering;

const NONE: u32 = u32::MAX;

/// Values by prefix.
#[derive(Debug)]
pub struct PrefixMap<T> {
    /// Sorted by prefix.
    entries: Vec<Entry<T>>,
    /// Bytes that all prefixes begin with.
    common: usize,
    /// For each entry [`word`] of what comes behind those.
    words: Words,
}

/// Numbers in order, in levels: each level holds the first of every [`FAN`] numbers of the one below, so that a search among thousands
/// that no cache holds touches one line of memory in each.
#[derive(Debug, Default)]
struct Words {
    /// The numbers first.
    levels: Vec<Vec<u64>>,
}

/// Numbers in a line of the cache.
const FAN: usize = 8;

#[derive(Debug)]
struct Entry<T> {
    prefix: Box<[u8]>,
    /// The longest other entry that is a prefix of this one.
    shorter: u32,
    value: T,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), common: 0, words: Words::default() }
    }
}

impl<T> PrefixMap<T> {
    /// From prefixes that all differ.
    pub fn build(prefixes: impl IntoIterator<Item = (Box<[u8]>, T)>) -> Self {
        let mut entries: Vec<Entry<T>> =
            prefixes.into_iter().map(|(prefix, value)| Entry { prefix, shorter: NONE, value }).collect();
        entries.sort_by(|left, right| left.prefix.cmp(&right.prefix));
        for index in 1..entries.len() {
            // What is a prefix of an entry is the entry before it, or a prefix of that.
            let mut shorter = index as u32 - 1;
            while shorter != NONE && !entries[index].prefix.starts_with(&entries[shorter as usize].prefix) {
                shorter = entries[shorter as usize].shorter;
            }
            entries[index].shorter = shorter;
        }
        let common = entries.first().zip(entries.last()).map_or(0, |(first, last)| {
            first.prefix.iter().zip(&last.prefix).take_while(|(left, right)| left == right).count()
        });
        let words = Words::of(entries.iter().map(|entry| word(entry.prefix[common..].iter())).collect());
        Self { entries, common, words }
    }

    /// The values of every prefix of `key`, the longest first.
    pub fn matches<'m>(&'m self, key: &'m [u8]) -> impl Iterator<Item = &'m T> {
        let starts = |prefix: &[u8]| key.starts_with(prefix);
        let rest = key.strip_prefix(self.common());
        let from = rest.map_or(NONE, |rest| self.last_not_after(word(rest.iter()), |prefix| prefix.cmp(key)));
        self.chain(from, starts)
    }

    /// The same for the key read from its end.
    pub fn matches_reversed<'m>(&'m self, key: &'m [u8]) -> impl Iterator<Item = &'m T> {
        let starts = |prefix: &[u8]| prefix.len() <= key.len() && prefix.iter().eq(key.iter().rev().take(prefix.len()));
        let from = if starts(self.common()) {
            let rest = word(key.iter().rev().skip(self.common));
            self.last_not_after(rest, |prefix| prefix.iter().cmp(key.iter().rev()))
        } else {
            NONE
        };
        self.chain(from, starts)
    }

    fn common(&self) -> &[u8] {
        self.entries.first().map_or(&[], |entry| &entry.prefix[..self.common])
    }

    /// The last entry whose prefix is not after the key, in order, for a key that begins with what is common and goes on with `rest`. Every
    /// prefix of the key is that one or a prefix of it.
    fn last_not_after(&self, rest: u64, compare: impl Fn(&[u8]) -> Ordering) -> u32 {
        let before = self.words.count(|word| word < rest);
        let after = if self.words.get(before) == Some(rest) {
            let same = &self.entries[before..self.words.count(|word| word <= rest)];
            before + same.partition_point(|entry| compare(&entry.prefix) != Ordering::Greater)
        } else {
            before
        };
        after.checked_sub(1).map_or(NONE, |index| index as u32)
    }

    fn chain(&self, from: u32, starts: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &T> {
        let entry = |index: u32| self.entries.get(index as usize);
        let mut next = from;
        std::iter::from_fn(move || {
            while let Some(found) = entry(next) {
                next = found.shorter;
                if starts(&found.prefix) {
                    return Some(&found.value);
                }
            }
            None
        })
    }
}

impl Words {
    fn of(numbers: Vec<u64>) -> Self {
        let mut levels = vec![numbers];
        while let Some(below) = levels.last().filter(|below| below.len() > FAN) {
            levels.push(below.iter().step_by(FAN).copied().collect());
        }
        Self { levels }
    }

    fn get(&self, index: usize) -> Option<u64> {
        self.levels.first()?.get(index).copied()
    }

    /// How many there are for which this holds, which is so for the first ones and not for the others.
    fn count(&self, holds: impl Fn(u64) -> bool) -> usize {
        self.levels.iter().rev().fold(0, |above, level| {
            // The last of those above that hold begins the line in which the holding end.
            let line = above.saturating_sub(1) * FAN;
            let numbers = level[line..].iter().take(FAN);
            line + numbers.filter(|number| holds(**number)).count()
        })
    }
}

/// The first eight bytes as a number that is in order as they are; what is shorter comes before what it begins, or is equal to it.
fn word<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(prefixes: &[&str]) -> PrefixMap<String> {
        PrefixMap::build(prefixes.iter().map(|prefix| (prefix.as_bytes().into(), (*prefix).to_owned())))
    }

    #[test]
    fn every_prefix_of_a_key_is_found_longest_first() {
        let map = map(&["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "", "/a/c"]);
        let found = |key: &str| map.matches(key.as_bytes()).cloned().collect::<Vec<_>>();
        assert_eq!(found("/a/b/x"), ["/a/b", "/a", "/", ""]);
        assert_eq!(found("/a/b/c"), ["/a/b/c", "/a/b", "/a", "/", ""]);
        assert_eq!(found("/a/bz"), ["/a/b", "/a", "/", ""]);
        assert_eq!(found("/zzz"), ["/", ""]);
        assert_eq!(found("x"), [""]);
        assert_eq!(found(""), [""]);
    }

    #[test]
    fn keys_can_be_read_from_their_end() {
        let map = map(&["moc.oof.", "moc.", "gro."]);
        let found = |key: &str| map.matches_reversed(key.as_bytes()).cloned().collect::<Vec<_>>();
        assert_eq!(found("a.foo.com"), ["moc.oof.", "moc."]);
        assert_eq!(found("foo.com"), ["moc."]);
        assert!(found("com").is_empty());
    }

    /// All words over two letters up to length five, behind what all begin with; every third of them is stored, from the `first` on.
    fn agrees(common: &str, letters: [&str; 2], first: usize) {
        let word = |len: u32, bits: u32| (0..len).map(|at| letters[(bits >> at & 1) as usize]).collect::<String>();
        let words: Vec<String> = (0..6_u32)
            .flat_map(|len| (0..1_u32 << len).map(move |bits| (len, bits)))
            .map(|(len, bits)| common.to_owned() + &word(len, bits))
            .collect();
        let stored: Vec<&str> = words.iter().skip(first).step_by(3).map(String::as_str).collect();
        let map = map(&stored);
        let shorter = (0..common.len()).map(|len| common[..len].to_owned());
        for key in words.iter().cloned().chain(shorter).chain(["zz".to_owned(), "!".to_owned()]) {
            let mut expected: Vec<&str> = stored.iter().copied().filter(|prefix| key.starts_with(prefix)).collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            assert_eq!(map.matches(key.as_bytes()).collect::<Vec<_>>(), expected, "{key:?}");
            let reversed: String = key.chars().rev().collect();
            assert_eq!(map.matches_reversed(reversed.as_bytes()).collect::<Vec<_>>(), expected, "{key:?}");
        }
    }

    #[test]
    fn the_search_agrees_with_looking_at_every_prefix() {
        for first in 0..3 {
            agrees("", ["a", "b"], first);
            agrees("/api/", ["a", "b"], first);
            // Words that are equal in their first eight bytes, and bytes that look like none.
            agrees("/", ["aaa", "aab"], first);
            agrees("", ["aaaaaaaab", "aaaaaaaac"], first);
            agrees("x", ["\0", "a"], first);
            agrees("", ["\0", "\u{1}"], first);
        }
    }
}
