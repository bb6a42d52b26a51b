//! Git's deltas: a text as copies from another one and what is new between them.
//!
//! Versions of a document differ in many small places, so every position of a small base is looked at.
//! Git looks at one of sixteen, which loses a sixth here and is what makes large files bearable; they are
//! treated like that.

/// Up to this size of a base every position of it is known.
const DENSE_BYTES_MAX: usize = 1 << 20;

/// Places of the base that are compared for one position; more of them rarely are better.
const PLACES_MAX: usize = 64;

/// The longest copy in one instruction that every reader understands.
const COPY_MAX: usize = 0x1_0000;

/// The longest insertion in one instruction.
const INSERT_MAX: usize = 127;

/// No position.
const NONE: u32 = u32::MAX;

/// Returns the instructions that make `target` from `base`. None: an offset would not fit.
pub(super) fn encode(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if u32::try_from(base.len().max(target.len())).is_err() {
        return None;
    }
    let places = Places::of(base);
    let mut out = Vec::with_capacity(64);
    size(&mut out, base.len());
    size(&mut out, target.len());
    // What is new and not written yet begins at `new`.
    let (mut at, mut new, mut follows) = (0, 0, 0);
    while at < target.len() {
        let Some((mut from, mut length)) = places.longest(base, target, at, follows) else {
            at += 1;
            continue;
        };
        // The window that was found may be the middle of more that is equal.
        while at > new && from > 0 && base[from - 1] == target[at - 1] {
            (at, from, length) = (at - 1, from - 1, length + 1);
        }
        insert(&mut out, &target[new..at]);
        copy(&mut out, from, length);
        at += length;
        new = at;
        follows = from + length;
    }
    insert(&mut out, &target[new..]);
    Some(out)
}

/// Where windows of bytes are in the base, by their hash.
struct Places {
    window: usize,
    step: usize,
    /// By hash, the last window of it.
    heads: Vec<u32>,
    /// By number of a window, the one before it with the same hash.
    before: Vec<u32>,
}

impl Places {
    fn of(base: &[u8]) -> Self {
        let (window, step) = if base.len() <= DENSE_BYTES_MAX {
            (8, 1)
        } else {
            (16, 16)
        };
        let windows = base.len().saturating_sub(window - 1).div_ceil(step);
        let mut places = Self {
            window,
            step,
            heads: vec![NONE; windows.next_power_of_two()],
            before: vec![NONE; windows],
        };
        for number in 0..windows {
            let hash = places.hash(&base[number * step..]);
            places.before[number] = places.heads[hash];
            places.heads[hash] = number as u32;
        }
        places
    }

    /// Returns the place of the window that `bytes` begin with; there are at least so many.
    fn hash(&self, bytes: &[u8]) -> usize {
        let mut hash = 0_u64;
        for part in bytes[..self.window].chunks_exact(8) {
            let part = u64::from_le_bytes(part.try_into().expect("it has eight bytes"));
            hash = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        (hash >> 32) as usize & (self.heads.len() - 1)
    }

    /// Returns offset and length of the longest text of the base that stands at `at`; of equally long ones
    /// the nearest to where the copy before ended.
    fn longest(
        &self,
        base: &[u8],
        target: &[u8],
        at: usize,
        follows: usize,
    ) -> Option<(usize, usize)> {
        let rest = &target[at..];
        if rest.len() < self.window {
            return None;
        }
        let mut best: Option<(usize, usize)> = None;
        let mut number = self.heads[self.hash(rest)];
        for _ in 0..PLACES_MAX {
            if number == NONE {
                break;
            }
            let from = number as usize * self.step;
            let length = equal(&base[from..], rest);
            let better = best.is_none_or(|(other, longest)| {
                length > longest
                    || length == longest && from.abs_diff(follows) < other.abs_diff(follows)
            });
            if length >= self.window && better {
                best = Some((from, length));
            }
            number = self.before[number as usize];
        }
        best
    }
}

/// Returns how many bytes two texts have in common at their beginning.
fn equal(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn size(out: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

fn insert(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.chunks(INSERT_MAX) {
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
}

/// A first byte that says which bytes of offset and length follow: those that are not zero.
fn copy(out: &mut Vec<u8>, mut from: usize, mut length: usize) {
    while length > 0 {
        let now = length.min(COPY_MAX);
        let first = out.len();
        out.push(0x80);
        // The longest length is written as none.
        let fields = [(from, 4, 0), (now % COPY_MAX, 2, 4)];
        for (field, bytes, bit) in fields {
            for position in 0..bytes {
                let byte = (field >> (8 * position)) as u8;
                if byte != 0 {
                    out[first] |= 1 << (bit + position);
                    out.push(byte);
                }
            }
        }
        (from, length) = (from + now, length - now);
    }
}

#[cfg(test)]
mod tests;
