//! Prefixes in order: finds every stored prefix of a key, the longest first, by one binary search. Paths are stored as they are, wildcard
//! hosts reversed.

use std::cmp::Ordering;

const NONE: u32 = u32::MAX;

/// Values by prefix.
#[derive(Debug)]
pub struct PrefixMap<T> {
    /// Sorted by prefix.
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    prefix: Box<[u8]>,
    /// The longest other entry that is a prefix of this one.
    shorter: u32,
    value: T,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
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
        Self { entries }
    }

    /// The values of every prefix of `key`, the longest first.
    pub fn matches<'m>(&'m self, key: &'m [u8]) -> impl Iterator<Item = &'m T> {
        let starts = |prefix: &[u8]| key.starts_with(prefix);
        self.chain(self.last_not_after(|prefix| prefix.cmp(key)), starts)
    }

    /// The same for the key read from its end.
    pub fn matches_reversed<'m>(&'m self, key: &'m [u8]) -> impl Iterator<Item = &'m T> {
        let starts = |prefix: &[u8]| prefix.len() <= key.len() && prefix.iter().eq(key.iter().rev().take(prefix.len()));
        self.chain(self.last_not_after(|prefix| prefix.iter().cmp(key.iter().rev())), starts)
    }

    /// The last entry whose prefix is not after the key, in order. Every prefix of the key is that one or a prefix of it.
    fn last_not_after(&self, compare: impl Fn(&[u8]) -> Ordering) -> u32 {
        let after = self.entries.partition_point(|entry| compare(&entry.prefix) != Ordering::Greater);
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

    #[test]
    fn the_search_agrees_with_looking_at_every_prefix() {
        // All words over two letters up to length five, every third of them stored.
        let words: Vec<String> = (0..6_u32)
            .flat_map(|len| {
                (0..1_u32 << len)
                    .map(move |bits| (0..len).map(|at| if bits >> at & 1 == 1 { 'b' } else { 'a' }).collect())
            })
            .collect();
        let stored: Vec<&str> = words.iter().step_by(3).map(String::as_str).collect();
        let map = map(&stored);
        for key in &words {
            let mut expected: Vec<&str> = stored.iter().copied().filter(|prefix| key.starts_with(prefix)).collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            assert_eq!(map.matches(key.as_bytes()).collect::<Vec<_>>(), expected, "{key}");
            let reversed: String = key.chars().rev().collect();
            assert_eq!(map.matches_reversed(reversed.as_bytes()).collect::<Vec<_>>(), expected, "{key}");
        }
    }
}
