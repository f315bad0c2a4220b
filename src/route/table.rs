//! The routes of one snapshot, compiled for look-up (APISIX-COMPAT §6.2–6.4).

use std::net::IpAddr;
use std::sync::Arc;

use super::cidr::Cidr;
use super::expr::{Expr, Operand};
use crate::http::fields::Span;

/// `apisix.router.http`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouterMode {
    /// `radixtree_host_uri`.
    #[default]
    HostUri,
    /// `radixtree_uri`.
    Uri,
    /// `radixtree_uri_with_parameter`.
    UriWithParameter,
}

/// A set of the methods that routes may name; empty means every method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// Adds a method; false if routes cannot name it.
    pub fn insert(&mut self, _method: &str) -> bool {
        todo!()
    }
    /// True if a request with `method` (upper case, any bytes) passes.
    pub fn allows(self, _method: &[u8]) -> bool {
        todo!()
    }
}

/// The position of a route in the snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(pub u32);

/// One route, as the table wants it. Routes with `status: 0` are not handed in.
#[derive(Clone, Debug)]
pub struct RouteEntry<V> {
    /// `uri` or `uris`.
    pub uris: Vec<String>,
    /// `host` or `hosts` (own or the service's), any case; empty: every host.
    pub hosts: Vec<String>,
    /// `methods`.
    pub methods: MethodSet,
    /// `remote_addr` or `remote_addrs`; empty: every address.
    pub remote_addrs: Vec<Cidr>,
    /// `vars`.
    pub vars: Option<Expr<V>>,
    /// `priority`.
    pub priority: i64,
    /// Given back by [`RouteTable::find`].
    pub index: RouteIndex,
}

/// A request, as far as routing looks at it.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a> {
    /// `$host`: lower case, no port.
    pub host: &'a [u8],
    /// `$uri`: decoded and normalised.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// `$remote_addr`; `None` (a Unix socket) passes no `remote_addrs`.
    pub remote_addr: Option<IpAddr>,
}

/// Values that a parameter route took from the path; memory to be reused.
pub type UriParams = Vec<(Arc<str>, Span)>;

/// The compiled routes.
#[derive(Debug)]
pub struct RouteTable<V>(std::marker::PhantomData<V>);

impl<V> Default for RouteTable<V> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<V> RouteTable<V> {
    /// Compiles. 100,000 routes take well under a second.
    pub fn build(_entries: Vec<RouteEntry<V>>, _mode: RouterMode) -> Self {
        todo!()
    }

    /// The route for a request. Allocates nothing.
    pub fn find(&self, _query: &RouteQuery<'_>, _vars: &dyn Fn(&V) -> Operand<'_>) -> Option<RouteIndex> {
        todo!()
    }

    /// The same, and fills `params` (cleared first) with the values of a parameter route.
    pub fn find_with_params(
        &self,
        _query: &RouteQuery<'_>,
        _vars: &dyn Fn(&V) -> Operand<'_>,
        _params: &mut UriParams,
    ) -> Option<RouteIndex> {
        todo!()
    }
}
