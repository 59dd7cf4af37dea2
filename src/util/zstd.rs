//! zstd for many small texts that are alike: each is compressed by itself, with a dictionary that
//! was learnt from a few of them.
//!
//! A dictionary holds the end of what was seen, for matches, and the statistics of what matches do
//! not cover. Without the latter a small text would carry tables larger than what they save.

use std::ffi::c_void;
use std::rc::Rc;
use zstd_safe::{CCtx, CDict, DCtx, DDict, DParameter, FrameFormat, zstd_sys};

/// Longer texts are neither compressed nor restored, which bounds the time that either takes.
pub const TEXT_LEN_MAX: usize = 64 * 1024;

/// The fastest of the usual levels: with a dictionary, higher ones save nothing more.
const LEVEL: i32 = 1;

/// What a dictionary keeps of the texts themselves. More does not save more, and each match then
/// takes more bits.
const CONTENT_LEN_MAX: usize = 4 * 1024;

/// zstd wants at least so much.
const CONTENT_LEN_MIN: usize = 128;

/// Room for statistics, which take about 130 bytes.
const STATISTICS_LEN_MAX: usize = 1024;

/// Each frame begins with the same four bytes, which are not kept.
const MAGIC_LEN: usize = 4;

/// What texts have in common, ready to restore what was compressed with it.
pub struct Dictionary {
    bytes: Vec<u8>,
    restoring: DDict<'static>,
}

impl Dictionary {
    /// Learns from texts that stand for many others; the last ones serve for matches as well. None
    /// if they are too few or too odd to learn from.
    pub fn learn(texts: &[impl AsRef<[u8]>]) -> Option<Rc<Self>> {
        let lens: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
        let samples = texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().concat();
        let content = &samples[samples.len().saturating_sub(CONTENT_LEN_MAX)..];
        if content.len() < CONTENT_LEN_MIN {
            return None;
        }
        let mut bytes = vec![0; content.len() + STATISTICS_LEN_MAX];
        let parameters =
            zstd_sys::ZDICT_params_t { compressionLevel: LEVEL, notificationLevel: 0, dictID: 1 };
        // SAFETY: each pointer leads to as many bytes or lengths as are said beside it, and the
        // lengths add up to the samples.
        let len = unsafe {
            zstd_sys::ZDICT_finalizeDictionary(
                bytes.as_mut_ptr().cast::<c_void>(),
                bytes.len(),
                content.as_ptr().cast::<c_void>(),
                content.len(),
                samples.as_ptr().cast::<c_void>(),
                lens.as_ptr(),
                lens.len() as u32,
                parameters,
            )
        };
        // An error is a number beyond any length.
        if len > bytes.len() {
            return None;
        }
        bytes.truncate(len);
        // A dictionary without a name is not named in each frame.
        bytes.get_mut(4..8)?.fill(0);
        let restoring = DDict::create(&bytes);
        Some(Rc::new(Self { bytes, restoring }))
    }

    /// What compressing needs beyond restoring: as large again, so it is made for a while.
    pub fn compressing(&self) -> Compressing {
        CDict::create(&self.bytes, LEVEL)
    }
}

/// A dictionary ready to compress with.
pub type Compressing = CDict<'static>;

/// zstd's working memory for both directions, some 150 KB.
pub struct Zstd {
    compressing: CCtx<'static>,
    restoring: DCtx<'static>,
    scratch: Vec<u8>,
}

impl Default for Zstd {
    fn default() -> Self {
        Self::new()
    }
}

impl Zstd {
    pub fn new() -> Self {
        let mut restoring = DCtx::create();
        let magicless = DParameter::Format(FrameFormat::Magicless);
        restoring.set_parameter(magicless).expect("this zstd can leave the magic number out");
        let scratch = vec![0; zstd_safe::compress_bound(TEXT_LEN_MAX)];
        Self { compressing: CCtx::create(), restoring, scratch }
    }

    /// The text as a frame that the same dictionary restores. None if it is too long.
    pub fn compress(&mut self, text: &[u8], dictionary: &Compressing) -> Option<&[u8]> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let len =
            self.compressing.compress_using_cdict(&mut self.scratch[..], text, dictionary).ok()?;
        self.scratch.get(MAGIC_LEN..len)
    }

    /// The text that `compress` made this frame of, with this dictionary; None for other bytes,
    /// unless they happen to be a frame.
    pub fn restore(&mut self, frame: &[u8], dictionary: &Dictionary) -> Option<&[u8]> {
        let len = self.restoring.decompress_using_ddict(
            &mut self.scratch[..],
            frame,
            &dictionary.restoring,
        );
        self.scratch.get(..len.ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    fn job(rng: &mut Rng) -> Vec<u8> {
        let (id, hash) = (rng.below(100_000), rng.next_u64());
        format!(r#"{{"order":{id},"customer":"{hash:016x}","items":["apple"],"paid":true}}"#).into()
    }

    #[test]
    fn texts_that_are_alike_come_back_from_half() {
        let mut rng = Rng::from_seed(1);
        let samples: Vec<Vec<u8>> = (0..32).map(|_| job(&mut rng)).collect();
        let dictionary = Dictionary::learn(&samples).unwrap();
        let compressing = dictionary.compressing();
        let mut zstd = Zstd::new();
        for len in [0, 1, 100, 5_000, TEXT_LEN_MAX] {
            let text = vec![b'x'; len];
            let frame = zstd.compress(&text, &compressing).unwrap().to_vec();
            assert_eq!(zstd.restore(&frame, &dictionary), Some(&text[..]));
        }
        let (mut whole, mut kept) = (0, 0);
        for _ in 0..1_000 {
            let text = job(&mut rng);
            let frame = zstd.compress(&text, &compressing).unwrap().to_vec();
            (whole, kept) = (whole + text.len(), kept + frame.len());
            assert_eq!(zstd.restore(&frame, &dictionary), Some(&text[..]));
        }
        // Sixteen random hexadecimal digits alone are eight bytes of 75.
        assert!(kept * 2 < whole, "{kept} of {whole}");
        assert_eq!(zstd.compress(&vec![0; TEXT_LEN_MAX + 1], &compressing), None);
    }

    #[test]
    fn what_was_not_compressed_is_refused_or_is_bytes() {
        let mut rng = Rng::from_seed(2);
        let samples: Vec<Vec<u8>> = (0..32).map(|_| job(&mut rng)).collect();
        let dictionary = Dictionary::learn(&samples).unwrap();
        let compressing = dictionary.compressing();
        let mut zstd = Zstd::new();
        let frame = zstd.compress(&samples[0], &compressing).unwrap().to_vec();
        for _ in 0..5_000 {
            let mut broken = frame.clone();
            let at = rng.below(broken.len());
            broken[at] ^= 1 << rng.below(8);
            broken.truncate(frame.len() - rng.below(3));
            if let Some(text) = zstd.restore(&broken, &dictionary) {
                assert!(text.len() <= zstd_safe::compress_bound(TEXT_LEN_MAX));
            }
        }
        assert!(Dictionary::learn(&[b"too little"]).is_none());
        assert!(Dictionary::learn(&[b""; 0]).is_none());
    }
}
