//! Keys as bytes whose order is the order of the values.
//!
//! Integers are big-endian with the sign turned round; texts and byte strings are themselves, and
//! end with a zero byte where something follows (zero and one in them become one-one and one-two, so
//! that no text is a beginning of another). A tuple is its elements one after the other. So a text is
//! readable in `althing state`, and the keys that share the first elements of a tuple stand together.

/// Ends a text where something follows.
const END: u8 = 0;
/// Stands before what replaces an [`END`] or itself within a text.
const ESCAPE: u8 = 1;

/// What can be a key: integers, `bool`, `String`, `Vec<u8>`, `Timestamp`, tuples of them, and structs with
/// `#[derive(Key)]`.
pub trait Key: AsKey<Self> + Sized {
    /// Reads a key from the beginning of `bytes`, leaving the rest; none when there is no such key.
    /// `last` says that nothing follows.
    fn read(last: bool, bytes: &mut &[u8]) -> Option<Self>;
}

/// What names a key of type `K` without being one: a `&str` for a `String`, `("a", 1)` for a
/// `(String, u64)`.
pub trait AsKey<K> {
    /// Appends the key. `last` says that nothing follows.
    fn write(&self, last: bool, out: &mut Vec<u8>);
}

/// Appends a key as itself: what `#[derive(Key)]` calls for each field.
pub fn write<K: Key>(key: &K, last: bool, out: &mut Vec<u8>) {
    key.write(last, out);
}

impl<K, T: AsKey<K> + ?Sized> AsKey<K> for &T {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        (**self).write(last, out);
    }
}

macro_rules! integers {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl Key for $unsigned {
            fn read(_last: bool, bytes: &mut &[u8]) -> Option<Self> {
                let (head, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*head))
            }
        }
        impl AsKey<$unsigned> for $unsigned {
            fn write(&self, _last: bool, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl Key for $signed {
            fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
                <$unsigned>::read(last, bytes).map(|turned| turned.cast_signed() ^ Self::MIN)
            }
        }
        impl AsKey<$signed> for $signed {
            fn write(&self, last: bool, out: &mut Vec<u8>) {
                (self ^ Self::MIN).cast_unsigned().write(last, out);
            }
        }
    )*};
}

integers! {
    u8, i8;
    u16, i16;
    u32, i32;
    u64, i64;
    u128, i128;
}

impl Key for bool {
    fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
        match u8::read(last, bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl AsKey<Self> for bool {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        u8::from(*self).write(last, out);
    }
}

impl Key for crate::Timestamp {
    fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
        let (millis, counter) = <(u64, u16)>::read(last, bytes)?;
        Some(Self { millis, counter })
    }
}

impl AsKey<Self> for crate::Timestamp {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        (self.millis, self.counter).write(last, out);
    }
}

impl Key for Vec<u8> {
    fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
        if last {
            return Some(std::mem::take(bytes).to_vec());
        }
        let mut read = Self::new();
        loop {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            match byte {
                END => return Some(read),
                ESCAPE => {
                    let (&replaced, rest) = bytes.split_first()?;
                    *bytes = rest;
                    read.push(replaced.checked_sub(1).filter(|original| *original <= ESCAPE)?);
                }
                byte => read.push(byte),
            }
        }
    }
}

impl AsKey<Vec<u8>> for [u8] {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        if last {
            return out.extend_from_slice(self);
        }
        for &byte in self {
            if byte <= ESCAPE {
                out.push(ESCAPE);
                out.push(byte + 1);
            } else {
                out.push(byte);
            }
        }
        out.push(END);
    }
}

impl AsKey<Self> for Vec<u8> {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        self.as_slice().write(last, out);
    }
}

impl Key for String {
    fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Vec::read(last, bytes)?).ok()
    }
}

impl AsKey<String> for str {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        self.as_bytes().write(last, out);
    }
}

impl AsKey<Self> for String {
    fn write(&self, last: bool, out: &mut Vec<u8>) {
        self.as_bytes().write(last, out);
    }
}

/// A key of several elements, so that those which share the first can be read together.
pub trait Compound: Key {
    /// The first element.
    type First: Key;
}

macro_rules! tuples {
    ($($first:ident $first_as:ident $(, $more:ident $more_as:ident)* => $last:ident $last_as:ident;)*) => {$(
        impl<$first: Key, $($more: Key,)* $last: Key> Compound for ($first, $($more,)* $last) {
            type First = $first;
        }
        impl<$first: Key, $($more: Key,)* $last: Key> Key for ($first, $($more,)* $last) {
            fn read(last: bool, bytes: &mut &[u8]) -> Option<Self> {
                Some(($first::read(false, bytes)?, $($more::read(false, bytes)?,)* $last::read(last, bytes)?))
            }
        }
        impl<$first, $first_as, $($more, $more_as,)* $last, $last_as>
            AsKey<($first, $($more,)* $last)> for ($first_as, $($more_as,)* $last_as)
        where
            $first_as: AsKey<$first>,
            $($more_as: AsKey<$more>,)*
            $last_as: AsKey<$last>,
        {
            #[expect(non_snake_case, reason = "the variables are named after their types")]
            fn write(&self, last: bool, out: &mut Vec<u8>) {
                let ($first, $($more,)* $last) = self;
                $first.write(false, out);
                $($more.write(false, out);)*
                $last.write(last, out);
            }
        }
    )*};
}

tuples! {
    A X => B Y;
    A X, B Y => C Z;
    A X, B Y, C Z => D W;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn bytes<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(true, &mut out);
        out
    }

    /// `keys` ascend; so must their bytes, and each must come back from them.
    fn ordered<K: Key + Ord + Debug>(mut keys: Vec<K>) {
        keys.sort();
        for pair in keys.windows(2) {
            let (low, high) = (bytes(&pair[0]), bytes(&pair[1]));
            assert!(low < high, "{:?} < {:?} but {low:?} >= {high:?}", pair[0], pair[1]);
        }
        for key in keys {
            let bytes = bytes(&key);
            let mut rest = bytes.as_slice();
            assert_eq!(K::read(true, &mut rest).as_ref(), Some(&key));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn integers_keep_their_order() {
        ordered(vec![0_u64, 1, 255, 256, u64::MAX]);
        ordered(vec![i64::MIN, -256, -1, 0, 1, 255, i64::MAX]);
        ordered(vec![-1_i8, 0, 1]);
    }

    const TEXTS: [&str; 9] = ["", "\0", "\0\0", "\u{1}", "\u{2}", "a", "a\0", "a\0b", "ab"];

    #[test]
    fn texts_keep_their_order_alone_and_in_tuples() {
        ordered(TEXTS.map(String::from).to_vec());
        let mut pairs = Vec::new();
        let mut triples = Vec::new();
        for first in TEXTS {
            for second in [i64::MIN, -1, 0, i64::MAX] {
                pairs.push((first.to_owned(), second));
                for third in TEXTS {
                    triples.push((first.to_owned(), second, third.to_owned()));
                }
            }
        }
        ordered(pairs);
        ordered(triples);
        ordered(TEXTS.iter().flat_map(|a| TEXTS.map(|b| (a.to_string(), b.to_owned()))).collect());
    }

    #[test]
    fn what_names_a_key_is_written_as_the_key() {
        let mut out = Vec::new();
        AsKey::<(String, u64)>::write(&("a", 1_u64), true, &mut out);
        assert_eq!(out, bytes(&("a".to_owned(), 1_u64)));
        assert_eq!(bytes(&"plain".to_owned()), b"plain");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        assert_eq!(u64::read(true, &mut &[1, 2][..]), None);
        assert_eq!(String::read(false, &mut &b"no end"[..]), None);
        assert_eq!(Vec::<u8>::read(false, &mut &[1, 9, 0][..]), None);
        assert_eq!(bool::read(true, &mut &[2][..]), None);
    }
}
