//! A limit on wrong tokens: so many at once and then a few a minute, from each address and in all.
//!
//! The same wrong token again is no new guess and counts once: a program that was left with an old
//! token locks nobody out. An address that has shown no wrong token may always try one, whatever
//! others do.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use jiff::Timestamp;

use super::tokens::TokenDigest;

/// Wrong tokens at once from one address, and how many seconds bring back one.
const OF_ONE: Limit = Limit { most: 20, each: 3 };
/// The same for all addresses together.
const OF_ALL: Limit = Limit { most: 200, each: 1 };
/// So many addresses are remembered; whoever has the least to wait is forgotten first.
const MOST_ADDRESSES: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Limit {
    most: i64,
    /// Seconds.
    each: i64,
}

/// Wrong tries as the time at which all of them will be forgiven: each puts it `each` seconds
/// later.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Seconds since 1970.
    forgiven: i64,
}

impl Bucket {
    /// Seconds until another try may be made; 0: now.
    fn wait(&mut self, limit: Limit, now: i64) -> i64 {
        // A clock that was put back must not lock anybody out for longer than it was meant to.
        self.forgiven = self.forgiven.min(now + limit.most * limit.each);
        (self.forgiven - now - (limit.most - 1) * limit.each).max(0)
    }

    fn count(&mut self, limit: Limit, now: i64) {
        let most = now + limit.most * limit.each;
        self.forgiven = (self.forgiven.max(now) + limit.each).min(most);
    }
}

/// What becomes of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken as it is: right, or wrong as before.
    Taken,
    /// It is wrong, and was counted.
    Counted,
    /// It is not taken, right or wrong: another may be made in so many seconds, from 1.
    Wait(u64),
}

/// The wrong tries of late.
#[derive(Debug, Default)]
pub(super) struct Tries {
    addresses: HashMap<IpAddr, (Bucket, TokenDigest)>,
    all: Bucket,
}

impl Tries {
    /// What becomes of a try from this address, that is right or not.
    pub(super) fn judge(
        &mut self,
        address: IpAddr,
        token: TokenDigest,
        right: bool,
        now: Timestamp,
    ) -> Verdict {
        let (address, now) = (network(address), now.as_second());
        if let Some((bucket, _)) =
            self.addresses.get_mut(&address).filter(|(bucket, _)| bucket.forgiven > now)
        {
            let wait = bucket.wait(OF_ONE, now).max(self.all.wait(OF_ALL, now));
            if wait > 0 {
                return Verdict::Wait(wait.unsigned_abs());
            }
        }
        if right {
            return Verdict::Taken;
        }
        if self.addresses.get(&address).is_some_and(|(_, last)| *last == token) {
            return Verdict::Taken;
        }
        self.make_room(&address, now);
        let (bucket, last) = self.addresses.entry(address).or_default();
        *last = token;
        bucket.count(OF_ONE, now);
        self.all.count(OF_ALL, now);
        Verdict::Counted
    }

    fn make_room(&mut self, address: &IpAddr, now: i64) {
        if self.addresses.len() < MOST_ADDRESSES || self.addresses.contains_key(address) {
            return;
        }
        self.addresses.retain(|_, (bucket, _)| bucket.forgiven > now);
        if self.addresses.len() >= MOST_ADDRESSES {
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

    /// So many different wrong tokens from an address: how many were counted.
    fn guess(
        tries: &mut Tries,
        address: IpAddr,
        numbers: std::ops::Range<u32>,
        now: Timestamp,
    ) -> usize {
        numbers
            .filter(|number| tries.judge(address, token(*number), false, now) == Verdict::Counted)
            .count()
    }

    #[test]
    fn an_address_may_err_a_few_times_and_then_has_to_wait() {
        let mut tries = Tries::default();
        assert_eq!(guess(&mut tries, from(1), 0..50, at(0)), 20);
        assert_eq!(
            tries.judge(from(1), token(99), true, at(0)),
            Verdict::Wait(3),
            "a right one is not looked at"
        );
        assert_eq!(tries.judge(from(1), token(99), true, at(2)), Verdict::Wait(1));
        assert_eq!(tries.judge(from(1), token(99), true, at(3)), Verdict::Taken);
        assert_eq!(guess(&mut tries, from(1), 50..60, at(6)), 2);
        assert_eq!(guess(&mut tries, from(1), 60..90, at(6_000)), 20);
    }

    #[test]
    fn a_right_token_is_not_locked_out_by_what_others_do() {
        let mut tries = Tries::default();
        for last in 0..100 {
            guess(&mut tries, from(last), 0..50, at(0));
        }
        assert_eq!(tries.judge(from(200), token(0), true, at(0)), Verdict::Taken);
        // In all there is a limit, too: who has erred waits, however many addresses he has.
        guess(&mut tries, from(201), 0..1, at(0));
        assert!(matches!(tries.judge(from(201), token(1), false, at(0)), Verdict::Wait(_)));
    }

    #[test]
    fn the_same_wrong_token_again_is_no_new_guess() {
        let mut tries = Tries::default();
        assert_eq!(tries.judge(from(1), token(0), false, at(0)), Verdict::Counted);
        for _ in 0..1_000 {
            assert_eq!(tries.judge(from(1), token(0), false, at(0)), Verdict::Taken);
        }
        assert_eq!(tries.judge(from(1), token(1), true, at(0)), Verdict::Taken);
    }

    #[test]
    fn a_clock_that_is_put_back_locks_nobody_out_for_long() {
        let mut tries = Tries::default();
        guess(&mut tries, from(1), 0..50, at(1_000_000));
        assert_eq!(tries.judge(from(1), token(99), true, at(0)), Verdict::Wait(3));
        assert_eq!(tries.judge(from(1), token(99), true, at(3)), Verdict::Taken);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let mut tries = Tries::default();
        let counted: usize = (0..50u32)
            .map(|number| {
                guess(
                    &mut tries,
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
        let mut tries = Tries::default();
        for number in 0..6_000u32 {
            tries.judge(IpAddr::V4(number.into()), token(0), false, at(0));
        }
        assert_eq!(tries.addresses.len(), MOST_ADDRESSES);
    }
}
