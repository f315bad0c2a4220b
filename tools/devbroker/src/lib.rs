//! dev broker
