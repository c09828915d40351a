//! The frame around the coded fixes, and the order in which a reader checks it.
//!
//! Plain bytes come first, so that a batch can be filed, counted and refused without decoding it: magic and format
//! number, epoch, first sequence, count. Then the range-coded part (unit profile, fixes, and in format 2 the optional
//! columns), then the CRC.

use crc::{CRC_32_ISCSI, Crc, Table};

use crate::fix::MAX_SCALE;
use crate::sequence::{Epoch, SequenceRange};

use super::coder::{Coder, Decoder, Encoder};
use super::extras::{self, Extras};
use super::row::{Cell, Profile, Row, profile_of};
use super::symbol::{DECIMALS, layout};
use super::walk::{Malformed, TIME_UNITS, Walk};
use super::{Batch, DecodeError, EncodeError, Header, MAX_BYTES, MAX_FIXES};

/// High nibble of the first byte; no text and no Protobuf message of ours begins with it.
const MAGIC: u8 = 0xA0;

/// Whether a batch, of whatever version, may begin with this byte.
#[must_use]
pub const fn begins_with(byte: u8) -> bool {
    byte & 0xF0 == MAGIC
}

/// Low nibble of the first byte: names the layout and the table of priors together, because at ten fixes a batch a
/// byte of its own for the table would cost 1.5 %. Any change to either takes the next number.
const FORMAT: u8 = 1;
/// Format 1 with optional columns behind its fixes. A batch without any is written as format 1.
const FORMAT_WITH_EXTRAS: u8 = 2;

/// CRC-32C (Castagnoli), as iSCSI uses it (RFC 3720, appendix B.4).
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
const CRC_BYTES: usize = 4;

/// Everything of a batch but its fixes, as read from the plain bytes.
struct Plain {
    header: Header,
    with_extras: bool,
    count: usize,
    /// Where the range-coded part begins.
    coded_from: usize,
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[allow(clippy::cast_possible_truncation)] // seven bits and the mark
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)] // below 0x80
    out.push(value as u8);
}

/// A varint of at most ten bytes; the value and where it ends. An encoding longer than needed is refused.
fn varint(bytes: &[u8], from: usize) -> Result<(u64, usize), DecodeError> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.get(from..).unwrap_or_default().iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7F);
        if index == 9 && part > 1 || index > 0 && byte == 0 {
            return Err(DecodeError::Malformed("a varint that does not fit or is padded"));
        }
        value |= part << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, from + index + 1));
        }
    }
    if bytes.len() < from + 10 {
        return Err(DecodeError::Truncated { length: bytes.len() });
    }
    Err(DecodeError::Malformed("a varint that does not end"))
}

pub(crate) fn format(bytes: &[u8]) -> Result<u8, DecodeError> {
    let &first = bytes.first().ok_or(DecodeError::Truncated { length: 0 })?;
    if begins_with(first) { Ok(first & 0x0F) } else { Err(DecodeError::NotABatch(first)) }
}

fn read_plain(bytes: &[u8]) -> Result<Plain, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLong { length: bytes.len() });
    }
    let truncated = DecodeError::Truncated { length: bytes.len() };
    let format = format(bytes)?;
    if ![FORMAT, FORMAT_WITH_EXTRAS].contains(&format) {
        return Err(DecodeError::UnknownVersion(format));
    }
    let epoch = bytes.get(1..5).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes);
    let epoch = Epoch(epoch.ok_or(truncated)?);
    let (first, next) = varint(bytes, 5)?;
    let (count, coded_from) = varint(bytes, next)?;
    let fixes = usize::try_from(count).ok().filter(|count| (1..=MAX_FIXES).contains(count));
    let fixes = fixes.ok_or(DecodeError::Count(count))?;
    let range =
        SequenceRange::starting_at(first, count).ok_or(DecodeError::SequenceOverflow { first, count })?;
    if bytes.len() < coded_from + CRC_BYTES {
        return Err(DecodeError::Truncated { length: bytes.len() });
    }
    let with_extras = format == FORMAT_WITH_EXTRAS;
    Ok(Plain { header: Header { epoch, range }, with_extras, count: fixes, coded_from })
}

pub(crate) fn peek(bytes: &[u8]) -> Result<Header, DecodeError> {
    read_plain(bytes).map(|plain| plain.header)
}

/// The column whose scale, coded before, best tells each column's; the first tells itself nothing.
const TOLD_BY: [usize; DECIMALS] = [5, 0, 0, 0, 3, 4];

/// What stands in the range-coded part before the fixes.
#[derive(Clone, Copy)]
struct Preamble {
    boot_id: Option<u32>,
    profile: Profile,
    /// Index into [`TIME_UNITS`].
    time_unit: u8,
}

impl Preamble {
    fn code<C: Coder>(self, coder: &mut C) -> Result<Self, Malformed> {
        let has_boot_id = layout::BOOT.code(coder, 0, self.boot_id.is_some());
        #[allow(clippy::cast_possible_truncation)] // 32 bits are read
        let boot_id = has_boot_id.then(|| coder.raw(u64::from(self.boot_id.unwrap_or(0)), 32) as u32);
        let mut profile = [0; DECIMALS];
        for column in 0..DECIMALS {
            // Longitude is printed like latitude.
            profile[column] =
                if column == 1 && layout::SAME_SCALE.code(coder, 0, self.profile[1] == self.profile[0]) {
                    profile[0]
                } else {
                    layout::scale(column, profile[TOLD_BY[column]]).code(coder, self.profile[column])
                };
            if profile[column] > MAX_SCALE {
                return Err(Malformed("a scale above 9"));
            }
        }
        let time_unit = layout::TIME_UNIT.code(coder, self.time_unit);
        if usize::from(time_unit) >= TIME_UNITS.len() {
            return Err(Malformed("an unknown unit of time"));
        }
        Ok(Self { boot_id, profile, time_unit })
    }
}

/// The coarsest unit that every time is a multiple of.
fn time_unit_of(batch: &Batch) -> u8 {
    let fits = |unit: i64| batch.fixes.iter().filter_map(|fix| fix.time).all(|time| time % unit == 0);
    let mut symbol = 0;
    for (index, unit) in (0_u8..).zip(TIME_UNITS) {
        if fits(unit) {
            symbol = index;
        }
    }
    symbol
}

/// Codes the preamble and every row, and in format 2 the optional columns; both the encoder and the trainer of priors
/// walk this way, the trainer without the columns.
pub(crate) fn code_batch<C: Coder>(
    coder: &mut C,
    batch: &Batch,
    with_extras: bool,
    mut coded: impl FnMut(&Walk),
) -> Result<u32, Malformed> {
    let profile = profile_of(&batch.fixes);
    let preamble = Preamble { boot_id: batch.boot_id, profile, time_unit: time_unit_of(batch) };
    let preamble = preamble.code(coder)?;
    let mut walk = Walk::new(&profile, TIME_UNITS[usize::from(preamble.time_unit)]);
    let mut digest = Digest::new(batch.epoch, batch.first, batch.fixes.len(), batch.boot_id, &profile);
    let mut rows = Vec::with_capacity(if with_extras { batch.fixes.len() } else { 0 });
    for fix in &batch.fixes {
        let row = Row::of(fix, &profile);
        walk.row(coder, &row)?;
        digest.row(&row);
        coded(&walk);
        if with_extras {
            rows.push(row);
        }
    }
    if with_extras {
        let extras = Extras::of(&batch.fixes);
        extras.code(coder, &profile, &rows)?;
        digest.extras(&extras);
    }
    Ok(digest.finish())
}

pub(crate) fn encode(batch: &Batch) -> Result<Vec<u8>, EncodeError> {
    let count = batch.fixes.len();
    if !(1..=MAX_FIXES).contains(&count) {
        return Err(EncodeError::Count(count));
    }
    if SequenceRange::starting_at(batch.first, count as u64).is_none() {
        return Err(EncodeError::SequenceOverflow { first: batch.first, count });
    }
    if batch.boot_id.is_none() && batch.fixes.iter().any(|fix| fix.uptime.is_some()) {
        return Err(EncodeError::UptimeWithoutBoot);
    }
    let mut out = Vec::with_capacity(64 + 6 * count);
    let with_extras = extras::any(&batch.fixes);
    out.push(MAGIC | if with_extras { FORMAT_WITH_EXTRAS } else { FORMAT });
    out.extend(batch.epoch.0.to_be_bytes());
    put_varint(&mut out, batch.first);
    put_varint(&mut out, count as u64);
    let coded_from = out.len();
    let mut coder = Encoder::new(out, with_extras);
    let crc = code_batch(&mut coder, batch, with_extras, |_| ()).map_err(|_| EncodeError::TooLong)?;
    let mut out = coder.finish(coded_from);
    out.extend(crc.to_be_bytes());
    if out.len() > MAX_BYTES { Err(EncodeError::TooLong) } else { Ok(out) }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let plain = read_plain(bytes)?;
    let (coded, crc) = bytes[plain.coded_from..].split_at(bytes.len() - plain.coded_from - CRC_BYTES);
    let mut coder = Decoder::new(coded, plain.with_extras);
    let nothing = Preamble { boot_id: None, profile: [0; DECIMALS], time_unit: 0 };
    let preamble = nothing.code(&mut coder)?;
    let Header { epoch, range } = plain.header;
    let profile = preamble.profile;
    let mut walk = Walk::new(&profile, TIME_UNITS[usize::from(preamble.time_unit)]);
    let mut digest = Digest::new(epoch, range.first(), plain.count, preamble.boot_id, &profile);
    let mut fixes = Vec::with_capacity(plain.count);
    let mut rows = Vec::with_capacity(if plain.with_extras { plain.count } else { 0 });
    for _ in 0..plain.count {
        let row = walk.row(&mut coder, &Row::default())?;
        digest.row(&row);
        fixes.push(row.to_fix(&profile));
        if plain.with_extras {
            rows.push(row);
        }
    }
    if plain.with_extras {
        let extras = Extras::unknown(plain.count).code(&mut coder, &profile, &rows)?;
        digest.extras(&extras);
        fixes.iter_mut().enumerate().for_each(|(index, fix)| extras.put(index, fix));
    }
    if !coder.used_all() {
        return Err(DecodeError::TrailingBytes);
    }
    let (expected, found) = (digest.finish(), u32::from_be_bytes(crc.try_into().unwrap_or_default()));
    if expected != found {
        return Err(DecodeError::Checksum { expected, found });
    }
    Ok(Batch { epoch, first: range.first(), boot_id: preamble.boot_id, fixes })
}

/// The CRC over what a batch means, so that it also vouches for the decoder.
struct Digest {
    digest: crc::Digest<'static, u32, Table<16>>,
}

impl Digest {
    fn new(epoch: Epoch, first: u64, count: usize, boot_id: Option<u32>, profile: &Profile) -> Self {
        let mut digest = CRC.digest();
        digest.update(&epoch.0.to_le_bytes());
        digest.update(&first.to_le_bytes());
        digest.update(&(count as u64).to_le_bytes());
        digest.update(&[u8::from(boot_id.is_some())]);
        digest.update(&boot_id.unwrap_or(0).to_le_bytes());
        digest.update(profile);
        Self { digest }
    }

    fn row(&mut self, row: &Row) {
        let mut bytes = [0_u8; ROW_BYTES];
        let mut rest = &mut bytes[..];
        let mut put = |part: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        };
        let mut marks = u16::from(row.time.is_some())
            | u16::from(row.satellites.is_some()) << 1
            | u16::from(row.inputs.is_some()) << 2
            | u16::from(row.uptime.is_some()) << 3;
        for (column, cell) in row.cells.iter().enumerate() {
            marks |= match cell {
                Cell::Null => 0,
                Cell::Value(_) => 1,
                Cell::Escape(_) => 2,
            } << (4 + 2 * column);
        }
        put(&marks.to_le_bytes());
        put(&row.time.unwrap_or(0).to_le_bytes());
        for cell in &row.cells {
            let (scale, mantissa) = match cell {
                Cell::Null => (0, 0),
                Cell::Value(units) => (0, *units),
                Cell::Escape(value) => (value.scale(), value.mantissa()),
            };
            put(&mantissa.to_le_bytes());
            put(&[scale]);
        }
        put(&[row.satellites.unwrap_or(0), row.quality.code()]);
        put(&row.verdict.to_le_bytes());
        put(&row.inputs.unwrap_or(0).to_le_bytes());
        put(&row.uptime.unwrap_or(0).to_le_bytes());
        self.digest.update(&bytes);
    }

    fn extras(&mut self, extras: &Extras) {
        self.digest.update(&extras.scales);
        for row in &extras.rows {
            self.digest.update(&row.to_bytes());
        }
    }

    fn finish(self) -> u32 {
        self.digest.finalize()
    }
}

/// Marks, time, cells, satellites and quality, verdict, inputs, uptime.
const ROW_BYTES: usize = 2 + 8 + DECIMALS * 9 + 2 + 2 + 2 + 8;

impl From<Malformed> for DecodeError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
