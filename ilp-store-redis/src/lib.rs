//! Reserved for the balance store of the `ilp-core` connector on Redis. Nothing is here yet: a configuration that asks for it is
//! refused with a message that says so.
