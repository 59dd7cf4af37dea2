//! The earliest alarm that some who wait have set. Later ones may be set as well, and do no harm.

#[derive(Debug, Default)]
pub struct NextWake(Option<u64>);

impl NextWake {
    /// An alarm that was for this moment or an earlier one has gone off.
    pub fn pass(&mut self, now_us: u64) {
        self.0 = self.0.filter(|&at_us| at_us > now_us);
    }

    /// Whether an alarm is to be set for a moment: no earlier one is, and from now on it is.
    pub fn is_to_set(&mut self, at_us: u64) -> bool {
        let is_earlier = self.0.is_none_or(|set_us| at_us < set_us);
        if is_earlier {
            self.0 = Some(at_us);
        }
        is_earlier
    }
}
