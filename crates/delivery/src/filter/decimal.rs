//! Numbers of JSON, compared by value and exactly.

use std::cmp::Ordering;

/// A number as it is written. 1, 1.0 and 10e-1 are equal; no digit is lost, as beyond 2^53 in a double.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'a> {
    is_negative: bool,
    /// From the first that is not 0 on, with or without a point. Empty: it is 0.
    digits: &'a [u8],
    /// The digits before the point if there were no exponent.
    magnitude: i64,
}

impl<'a> Decimal<'a> {
    /// The number of a valid text.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let (is_negative, text) = match text.strip_prefix(b"-") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
        let (digits, exponent) = text.split_at_checked(end).unwrap_or((text, &[]));
        let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
        let first = digits.iter().position(|byte| matches!(byte, b'1'..=b'9')).unwrap_or(digits.len());
        // Behind the point, it is one of those.
        let zeros = first.saturating_sub(usize::from(first > point));
        let [point, zeros] = [point, zeros].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Self {
            is_negative,
            digits: digits.get(first..).unwrap_or_default(),
            magnitude: number(exponent).saturating_add(point.saturating_sub(zeros)),
        }
    }

    fn sign(self) -> i8 {
        match (self.digits, self.is_negative) {
            ([], _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    fn digits(self) -> impl Iterator<Item = u8> {
        self.digits.iter().copied().filter(u8::is_ascii_digit)
    }

    /// Compares those that are not 0, without their signs.
    fn cmp_absolute(self, other: Self) -> Ordering {
        let (mut own, mut others) = (self.digits(), other.digits());
        self.magnitude.cmp(&other.magnitude).then_with(|| {
            loop {
                let pair = (own.next(), others.next());
                if pair == (None, None) {
                    return Ordering::Equal;
                }
                match pair.0.unwrap_or(b'0').cmp(&pair.1.unwrap_or(b'0')) {
                    Ordering::Equal => {}
                    different => return different,
                }
            }
        })
    }
}

/// The number of an exponent, with its `e`. Numbers beyond 10^18 are as large as that.
fn number(exponent: &[u8]) -> i64 {
    let digits = exponent.iter().filter(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_i64, |number, digit| {
        let next = number.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')));
        next.min(1_000_000_000_000_000_000)
    });
    if exponent.get(1) == Some(&b'-') { number.saturating_neg() } else { number }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.sign();
        sign.cmp(&other.sign()).then_with(|| match sign {
            0 => Ordering::Equal,
            1.. => self.cmp_absolute(*other),
            ..0 => other.cmp_absolute(*self),
        })
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cmp(a: &str, b: &str) -> Ordering {
        Decimal::of(a.as_bytes()).cmp(&Decimal::of(b.as_bytes()))
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for equal in [
            &["0", "-0", "0.000", "0e99", "-0.0E-5"][..],
            &["1", "1.0", "1e0", "10e-1", "0.1e+1", "0.001E3", "100e-00002"],
            &["-1200", "-1.2e3", "-0.12E4", "-12000e-1"],
        ] {
            for (a, b) in equal.iter().flat_map(|a| equal.iter().map(move |b| (a, b))) {
                assert_eq!(cmp(a, b), Ordering::Equal, "{a} {b}");
            }
        }
        let rising = "-1e999999999999999999999 -9007199254740993 -9007199254740992 -1 -0.10 -0.01 0 1e-400 \
                      0.09 0.1 0.30000000000000004 0.30000000000000005 2 10 9007199254740992 9007199254740993 \
                      18446744073709551615 18446744073709551616 1e400";
        let rising: Vec<_> = rising.split(' ').collect();
        for (at, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(cmp(a, b), at.cmp(&other), "{a} {b}");
            }
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_doubles_and_integers(a: f64, b: f64, x: i128, y: i128) {
            let (a, b) = (if a.is_finite() { a } else { 0.0 }, if b.is_finite() { b } else { 0.0 });
            prop_assert_eq!(Some(cmp(&format!("{a:e}"), &format!("{b}"))), a.partial_cmp(&b));
            prop_assert_eq!(cmp(&x.to_string(), &y.to_string()), x.cmp(&y));
        }
    }
}
