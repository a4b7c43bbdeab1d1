//! Encoded entries in the order of the log, of which some are dead.

/// Entries one after the other. Those that are dead keep their memory until the segment is rewritten.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    /// The end of each entry in `bytes`.
    ends: Vec<u32>,
    /// One bit for each entry: whether it is dead.
    dead: Vec<u64>,
    dead_bytes: usize,
    dead_entries: usize,
}

impl Segment {
    /// Appends an entry, and gives its number. None if there is no room for it.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Option<u32> {
        let number = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.bytes.len().checked_add(entry.len())?).ok()?;
        self.bytes.extend_from_slice(entry);
        self.ends.push(end);
        if number % 64 == 0 {
            self.dead.push(0);
        }
        Some(number)
    }

    /// The entry with this number, dead or alive.
    pub(crate) fn entry(&self, number: u32) -> Option<&[u8]> {
        let at = usize::try_from(number).ok()?;
        let end = usize::try_from(*self.ends.get(at)?).ok()?;
        self.bytes.get(self.start(at)..end)
    }

    /// The live entries from the one with this number on, with their numbers.
    pub(crate) fn live(&self, from: u32) -> impl Iterator<Item = (u32, &[u8])> {
        let count = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        (from..count)
            .filter(|number| !self.is_dead(*number))
            .filter_map(|number| Some((number, self.entry(number)?)))
    }

    /// Marks an entry as dead.
    pub(crate) fn kill(&mut self, number: u32) {
        let len = self.entry(number).map_or(0, <[u8]>::len);
        let Some((word, bit)) = place(number).and_then(|(at, bit)| Some((self.dead.get_mut(at)?, bit)))
        else {
            return;
        };
        if *word & bit == 0 {
            *word |= bit;
            self.dead_bytes = self.dead_bytes.saturating_add(len);
            self.dead_entries = self.dead_entries.saturating_add(1);
        }
    }

    /// The number of the first entry for which `is_before` is false: it is true for none behind that one.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&[u8]) -> bool) -> u32 {
        let (mut low, mut high) = (0, u32::try_from(self.ends.len()).unwrap_or(u32::MAX));
        while low < high {
            let middle = low.midpoint(high);
            match self.entry(middle).is_some_and(&is_before) {
                true => low = middle.saturating_add(1),
                false => high = middle,
            }
        }
        low
    }

    /// Whether all entries are dead.
    pub(crate) fn is_dead_as_a_whole(&self) -> bool {
        self.dead_entries == self.ends.len()
    }

    /// Whether a rewrite frees half of its entries' memory, and as much as this.
    pub(crate) fn is_worth_a_rewrite(&self, least: usize) -> bool {
        self.dead_bytes > least.max(self.bytes.len() / 2)
    }

    /// The bytes of live entries.
    pub(crate) fn live_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.dead_bytes)
    }

    /// The bytes of all entries.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Frees memory for entries that will not come.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.dead.shrink_to_fit();
    }

    /// Its memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let numbers = self.ends.capacity().saturating_mul(size_of::<u32>());
        let dead = self.dead.capacity().saturating_mul(size_of::<u64>());
        self.bytes.capacity().saturating_add(numbers).saturating_add(dead).saturating_add(size_of::<Self>())
    }

    fn start(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        before.and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    fn is_dead(&self, number: u32) -> bool {
        place(number).is_some_and(|(at, bit)| self.dead.get(at).is_some_and(|word| word & bit != 0))
    }
}

/// The word and the bit of an entry.
fn place(number: u32) -> Option<(usize, u64)> {
    Some((usize::try_from(number / 64).ok()?, 1 << (number % 64)))
}
