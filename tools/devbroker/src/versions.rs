//! The versions that this broker advertises and answers: those of `api`, lowered where a test or an option says so.

use crate::Api;
use std::collections::BTreeMap;

/// Highest versions that differ from [`Api::versions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    most: BTreeMap<Api, i16>,
}

impl Versions {
    /// Advertises and answers `api` up to this version only; below the lowest, not at all.
    pub fn cap(&mut self, api: Api, most: i16) {
        self.most.insert(api, most);
    }

    /// Takes over every cap of `others`.
    pub fn cap_as(&mut self, others: &Self) {
        self.most.extend(&others.most);
    }

    /// Lowest and highest version advertised; none if the request is not known.
    pub fn advertised(&self, api: Api) -> Option<(i16, i16)> {
        let (low, high) = api.versions();
        let high = self.most.get(&api).map_or(high, |most| high.min(*most));
        (low <= high).then_some((low, high))
    }

    /// True if this version is answered.
    pub fn answers(&self, api: Api, version: i16) -> bool {
        self.advertised(api).is_some_and(|(_, high)| (api.lowest_answered()..=high).contains(&version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_lower_and_never_raise_and_below_the_lowest_nothing_is_left() {
        let mut versions = Versions::default();
        assert!(versions.answers(Api::Produce, 3) && !versions.answers(Api::Produce, 2));
        versions.cap(Api::Produce, 9);
        assert_eq!(versions.advertised(Api::Produce), Some((0, 9)));
        assert!(versions.answers(Api::Produce, 9) && !versions.answers(Api::Produce, 10));
        versions.cap(Api::Metadata, 99);
        assert_eq!(versions.advertised(Api::Metadata), Some(Api::Metadata.versions()));
        versions.cap(Api::DescribeProducers, -1);
        assert_eq!(versions.advertised(Api::DescribeProducers), None);
        assert!(!versions.answers(Api::DescribeProducers, 0));
    }
}
