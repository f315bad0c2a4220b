//! Every configured object as its owner wrote it: what the store keeps and what is compiled. No defaults are filled in
//! (APISIX-COMPAT §1.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::resource::Kind;

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The JSON object, with `id`, and with `create_time` and `update_time` where the kind has them.
    pub value: Value,
    /// The store's revision when it was created.
    pub created_index: u64,
    /// The store's revision of the last change.
    pub modified_index: u64,
}

/// All objects by kind and id, in key order, with the store's revision. A clone shares the objects: it costs their number, not their
/// size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The store's revision: counts up with every change.
    pub revision: u64,
    kinds: [BTreeMap<String, Arc<Document>>; Kind::ALL.len()],
}

impl Documents {
    /// The object of this kind and id.
    pub fn find(&self, kind: Kind, id: &str) -> Option<&Document> {
        self.kinds[kind as usize].get(id).map(Arc::as_ref)
    }

    /// All objects of a kind, by id in byte order.
    pub fn all(&self, kind: Kind) -> impl ExactSizeIterator<Item = (&str, &Document)> {
        self.kinds[kind as usize].iter().map(|(id, document)| (id.as_str(), document.as_ref()))
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds[kind as usize].len()
    }

    /// Puts an object in or in place of the one with its id, under the next revision, and gives that revision.
    /// `created_index` of a replaced object is kept.
    pub fn put(&mut self, kind: Kind, id: &str, value: Value) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let created_index = self.find(kind, id).map_or(revision, |old| old.created_index);
        let document = Document { value, created_index, modified_index: revision };
        self.kinds[kind as usize].insert(id.to_owned(), Arc::new(document));
        revision
    }

    /// Puts an object in as a store read it back, with its indexes; `revision` follows the largest seen.
    pub fn restore(&mut self, kind: Kind, id: &str, document: Document) {
        self.revision = self.revision.max(document.modified_index);
        self.kinds[kind as usize].insert(id.to_owned(), Arc::new(document));
    }

    /// Takes an object out under the next revision; `None` leaves the revision as it is.
    pub fn remove(&mut self, kind: Kind, id: &str) -> Option<Document> {
        let gone = self.kinds[kind as usize].remove(id)?;
        self.revision += 1;
        Some(Arc::unwrap_or_clone(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_replaced_object_keeps_its_created_index() {
        let mut documents = Documents::default();
        assert_eq!(documents.put(Kind::Route, "a", json!({"n": 1})), 1);
        assert_eq!(documents.put(Kind::Route, "b", json!({})), 2);
        assert_eq!(documents.put(Kind::Route, "a", json!({"n": 2})), 3);
        let a = documents.find(Kind::Route, "a").unwrap();
        assert_eq!((a.created_index, a.modified_index, &a.value), (1, 3, &json!({"n": 2})));
    }

    #[test]
    fn removing_what_is_not_there_leaves_the_revision() {
        let mut documents = Documents::default();
        documents.put(Kind::Upstream, "u", json!({}));
        assert!(documents.remove(Kind::Upstream, "x").is_none());
        assert!(documents.remove(Kind::Route, "u").is_none());
        assert_eq!(documents.revision, 1);
        assert!(documents.remove(Kind::Upstream, "u").is_some());
        assert_eq!((documents.revision, documents.count(Kind::Upstream)), (2, 0));
    }

    #[test]
    fn kinds_do_not_mix_and_lists_are_in_key_order() {
        let mut documents = Documents::default();
        for id in ["b", "a", "10", "9"] {
            documents.put(Kind::Route, id, json!({}));
        }
        documents.put(Kind::Service, "s", json!({}));
        let ids: Vec<&str> = documents.all(Kind::Route).map(|(id, _)| id).collect();
        assert_eq!(ids, ["10", "9", "a", "b"]);
    }
}
