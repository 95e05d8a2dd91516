//! Limits how many wrong tokens may be shown: a burst and then a few a minute, from each address
//! and in all.
//!
//! The same wrong token shown again is no new guess, so it counts once: a program that was left
//! with an old token does not lock out its address. An address that has shown no wrong token may
//! always show one, however many other addresses have shown.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use jiff::Timestamp;

use super::tokens::TokenDigest;

/// The limit of each address.
const LIMIT_OF_ADDRESS: Limit = Limit { most: 20, each: 3 };
/// The limit of all addresses together.
const LIMIT_IN_ALL: Limit = Limit { most: 200, each: 1 };
/// The most addresses that are remembered. The address with the shortest wait is forgotten first.
const MAX_ADDRESSES: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Limit {
    /// How many wrong tokens may be shown at once.
    most: i64,
    /// The seconds after which one more may be shown.
    each: i64,
}

/// Counts wrong tokens as one number: the time at which all of them are forgiven. Each wrong token
/// puts that time `each` seconds later.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Seconds since 1970.
    forgiven: i64,
}

impl Bucket {
    /// Seconds until another token may be shown; 0: now.
    fn wait(&mut self, limit: Limit, now: i64) -> i64 {
        // A clock that was put back must not lock an address out for longer than the limit does.
        self.forgiven = self.forgiven.min(now + limit.most * limit.each);
        (self.forgiven - now - (limit.most - 1) * limit.each).max(0)
    }

    fn count(&mut self, limit: Limit, now: i64) {
        let most = now + limit.most * limit.each;
        self.forgiven = (self.forgiven.max(now) + limit.each).min(most);
    }
}

/// What becomes of a request with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The limit lets the token pass: it is right, or the same wrong one as before.
    Allowed,
    /// The token is wrong, and was counted.
    Counted,
    /// The token is refused, right or wrong. The address may show another in so many seconds, at
    /// least 1.
    Wait(u64),
}

/// The wrong tokens that are not forgiven yet.
#[derive(Debug, Default)]
pub(super) struct WrongTokenLimit {
    /// By network: the wrong tokens of each, and the last one.
    addresses: HashMap<IpAddr, (Bucket, TokenDigest)>,
    all: Bucket,
}

impl WrongTokenLimit {
    /// Checks a token that an address shows against the limits, and counts it where it is wrong.
    pub(super) fn check(
        &mut self,
        address: IpAddr,
        token: TokenDigest,
        right: bool,
        now: Timestamp,
    ) -> Attempt {
        let (address, now) = (network(address), now.as_second());
        if let Some((bucket, _)) =
            self.addresses.get_mut(&address).filter(|(bucket, _)| bucket.forgiven > now)
        {
            let wait = bucket.wait(LIMIT_OF_ADDRESS, now).max(self.all.wait(LIMIT_IN_ALL, now));
            if wait > 0 {
                return Attempt::Wait(wait.unsigned_abs());
            }
        }
        if right {
            return Attempt::Allowed;
        }
        if self.addresses.get(&address).is_some_and(|(_, last)| *last == token) {
            return Attempt::Allowed;
        }
        self.make_room(&address, now);
        let (bucket, last) = self.addresses.entry(address).or_default();
        *last = token;
        bucket.count(LIMIT_OF_ADDRESS, now);
        self.all.count(LIMIT_IN_ALL, now);
        Attempt::Counted
    }

    fn make_room(&mut self, address: &IpAddr, now: i64) {
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(address) {
            return;
        }
        self.addresses.retain(|_, (bucket, _)| bucket.forgiven > now);
        if self.addresses.len() >= MAX_ADDRESSES {
            let first = self.addresses.iter().min_by_key(|(_, (bucket, _))| bucket.forgiven);
            if let Some(first) = first.map(|(address, _)| *address) {
                self.addresses.remove(&first);
            }
        }
    }
}

/// The part of an address that one subscriber has: IPv6 hands out 2^64 addresses to each.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// A token that was not tried before.
    fn token(number: u32) -> TokenDigest {
        let mut token = [7; 32];
        token[..4].copy_from_slice(&number.to_be_bytes());
        token
    }

    /// Shows different wrong tokens from an address. Returns how many were counted.
    fn guess(
        limit: &mut WrongTokenLimit,
        address: IpAddr,
        numbers: std::ops::Range<u32>,
        now: Timestamp,
    ) -> usize {
        numbers
            .filter(|number| limit.check(address, token(*number), false, now) == Attempt::Counted)
            .count()
    }

    #[test]
    fn an_address_may_err_a_few_times_and_then_has_to_wait() {
        let mut limit = WrongTokenLimit::default();
        assert_eq!(guess(&mut limit, from(1), 0..50, at(0)), 20);
        assert_eq!(
            limit.check(from(1), token(99), true, at(0)),
            Attempt::Wait(3),
            "a right one is not looked at"
        );
        assert_eq!(limit.check(from(1), token(99), true, at(2)), Attempt::Wait(1));
        assert_eq!(limit.check(from(1), token(99), true, at(3)), Attempt::Allowed);
        assert_eq!(guess(&mut limit, from(1), 50..60, at(6)), 2);
        assert_eq!(guess(&mut limit, from(1), 60..90, at(6_000)), 20);
    }

    #[test]
    fn a_right_token_is_not_locked_out_by_what_others_do() {
        let mut limit = WrongTokenLimit::default();
        for last in 0..100 {
            guess(&mut limit, from(last), 0..50, at(0));
        }
        assert_eq!(limit.check(from(200), token(0), true, at(0)), Attempt::Allowed);
        // Once the limit of all addresses is used up, an address that showed a wrong token waits.
        guess(&mut limit, from(201), 0..1, at(0));
        assert!(matches!(limit.check(from(201), token(1), false, at(0)), Attempt::Wait(_)));
    }

    #[test]
    fn the_same_wrong_token_again_is_no_new_guess() {
        let mut limit = WrongTokenLimit::default();
        assert_eq!(limit.check(from(1), token(0), false, at(0)), Attempt::Counted);
        for _ in 0..1_000 {
            assert_eq!(limit.check(from(1), token(0), false, at(0)), Attempt::Allowed);
        }
        assert_eq!(limit.check(from(1), token(1), true, at(0)), Attempt::Allowed);
    }

    #[test]
    fn a_clock_that_is_put_back_locks_nobody_out_for_long() {
        let mut limit = WrongTokenLimit::default();
        guess(&mut limit, from(1), 0..50, at(1_000_000));
        assert_eq!(limit.check(from(1), token(99), true, at(0)), Attempt::Wait(3));
        assert_eq!(limit.check(from(1), token(99), true, at(3)), Attempt::Allowed);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let mut limit = WrongTokenLimit::default();
        let counted: usize = (0..50u32)
            .map(|number| {
                guess(
                    &mut limit,
                    format!("2001:db8::{number:x}").parse().unwrap(),
                    number..number + 1,
                    at(0),
                )
            })
            .sum();
        assert_eq!(counted, 20);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let mut limit = WrongTokenLimit::default();
        for number in 0..6_000u32 {
            limit.check(IpAddr::V4(number.into()), token(0), false, at(0));
        }
        assert_eq!(limit.addresses.len(), MAX_ADDRESSES);
    }
}
