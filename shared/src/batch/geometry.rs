//! Integer geometry: sine, cosine, and what a nautical mile is in arc-minutes at a latitude.

/// One, in the fixed point of every table here.
pub(crate) const ONE: i64 = 1 << 16;

/// round(65536 × sin(i × 90°/256)).
#[rustfmt::skip]
static SINE: [u32; 257] = [
    0, 402, 804, 1206, 1608, 2010, 2412, 2814, 3216, 3617, 4019, 4420, 4821, 5222, 5623, 6023,
    6424, 6824, 7224, 7623, 8022, 8421, 8820, 9218, 9616, 10014, 10411, 10808, 11204, 11600, 11996, 12391,
    12785, 13180, 13573, 13966, 14359, 14751, 15143, 15534, 15924, 16314, 16703, 17091, 17479, 17867, 18253, 18639,
    19024, 19409, 19792, 20175, 20557, 20939, 21320, 21699, 22078, 22457, 22834, 23210, 23586, 23961, 24335, 24708,
    25080, 25451, 25821, 26190, 26558, 26925, 27291, 27656, 28020, 28383, 28745, 29106, 29466, 29824, 30182, 30538,
    30893, 31248, 31600, 31952, 32303, 32652, 33000, 33347, 33692, 34037, 34380, 34721, 35062, 35401, 35738, 36075,
    36410, 36744, 37076, 37407, 37736, 38064, 38391, 38716, 39040, 39362, 39683, 40002, 40320, 40636, 40951, 41264,
    41576, 41886, 42194, 42501, 42806, 43110, 43412, 43713, 44011, 44308, 44604, 44898, 45190, 45480, 45769, 46056,
    46341, 46624, 46906, 47186, 47464, 47741, 48015, 48288, 48559, 48828, 49095, 49361, 49624, 49886, 50146, 50404,
    50660, 50914, 51166, 51417, 51665, 51911, 52156, 52398, 52639, 52878, 53114, 53349, 53581, 53812, 54040, 54267,
    54491, 54714, 54934, 55152, 55368, 55582, 55794, 56004, 56212, 56418, 56621, 56823, 57022, 57219, 57414, 57607,
    57798, 57986, 58172, 58356, 58538, 58718, 58896, 59071, 59244, 59415, 59583, 59750, 59914, 60075, 60235, 60392,
    60547, 60700, 60851, 60999, 61145, 61288, 61429, 61568, 61705, 61839, 61971, 62101, 62228, 62353, 62476, 62596,
    62714, 62830, 62943, 63054, 63162, 63268, 63372, 63473, 63572, 63668, 63763, 63854, 63944, 64031, 64115, 64197,
    64277, 64354, 64429, 64501, 64571, 64639, 64704, 64766, 64827, 64884, 64940, 64993, 65043, 65091, 65137, 65180,
    65220, 65259, 65294, 65328, 65358, 65387, 65413, 65436, 65457, 65476, 65492, 65505, 65516, 65525, 65531, 65535,
    65536,
];

/// round(65536 × minutes of latitude in 1852 m northward) at whole degrees; WGS 84 (NIMA TR8350.2), meridional radius.
#[rustfmt::skip]
static NORTH: [u32; 87] = [
    65859, 65859, 65859, 65858, 65856, 65854, 65852, 65850, 65847, 65843, 65840, 65835, 65831, 65826, 65821, 65815,
    65809, 65803, 65796, 65789, 65782, 65775, 65767, 65759, 65750, 65741, 65732, 65723, 65714, 65704, 65694, 65684,
    65674, 65663, 65653, 65642, 65631, 65620, 65609, 65598, 65586, 65575, 65564, 65552, 65541, 65529, 65518, 65506,
    65495, 65483, 65472, 65460, 65449, 65438, 65427, 65416, 65405, 65395, 65384, 65374, 65364, 65354, 65345, 65335,
    65326, 65317, 65308, 65300, 65292, 65284, 65276, 65269, 65262, 65256, 65249, 65243, 65238, 65233, 65228, 65223,
    65219, 65215, 65212, 65209, 65206, 65204, 65202,
];

/// round(65536 × minutes of longitude in 1852 m eastward) at whole degrees; prime-vertical radius × cosine.
/// Nearer to a pole than 86° the last entries serve: a poorer guess, never a wrong value.
#[rustfmt::skip]
static EAST: [u32; 87] = [
    65419, 65428, 65458, 65508, 65577, 65667, 65776, 65907, 66057, 66229, 66421, 66635, 66870, 67128, 67408, 67711,
    68038, 68388, 68763, 69163, 69590, 70043, 70523, 71032, 71570, 72138, 72738, 73370, 74036, 74738, 75476, 76252,
    77068, 77925, 78826, 79773, 80768, 81814, 82912, 84066, 85280, 86555, 87897, 89309, 90795, 92361, 94010, 95750,
    97586, 99524, 101573, 103741, 106036, 108470, 111053, 113797, 116718, 119830, 123153, 126704, 130508, 134591, 138981, 143713,
    148827, 154367, 160388, 166950, 174129, 182012, 190705, 200334, 211057, 223065, 236600, 251967, 269558, 289887, 313637, 341741,
    375505, 416817, 468506, 535020, 623769, 748096, 934684,
];

/// Sine of `turn` sixty-five-thousand-five-hundred-thirty-sixths of a full turn, times [`ONE`].
fn sine_of(turn: u16) -> i64 {
    let quarter = turn >> 14;
    let within = turn & 0x3FFF;
    let within = if quarter & 1 == 1 { 0x4000 - within } else { within };
    let (index, part) = (usize::from(within >> 6), i64::from(within & 0x3F));
    let low = i64::from(SINE[index]);
    let high = i64::from(SINE[(index + 1).min(256)]);
    let value = low + (((high - low) * part) >> 6);
    if quarter & 2 == 2 { -value } else { value }
}

/// (cosine, sine) of `course` / `full` turns, each times [`ONE`]: the north and east shares of a speed.
#[must_use]
pub(crate) fn direction(course: i64, full: i64) -> (i64, i64) {
    // `full` is 360 × 10^scale with scale ≤ 9, so the product stays below 2^55.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a turn is taken modulo 65536
    let turn = ((course.rem_euclid(full) * ONE + full / 2) / full) as u16;
    (sine_of(turn.wrapping_add(0x4000)), sine_of(turn))
}

/// (north, east) arc-minutes in a nautical mile, each times [`ONE`], at `minutes` arc-minutes of latitude (of either sign).
#[must_use]
pub(crate) fn minutes_per_mile(minutes: u64) -> (i64, i64) {
    let degree = (minutes / 60).min(85);
    let part = minutes.saturating_sub(degree * 60).min(60).cast_signed();
    #[allow(clippy::cast_possible_truncation)] // at most 85
    let index = degree as usize;
    let between = |table: &[u32; 87]| {
        let (low, high) = (i64::from(table[index]), i64::from(table[index + 1]));
        low + (high - low) * part / 60
    };
    (between(&NORTH), between(&EAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_right_to_half_a_step_of_the_turn() {
        for tenth in 0..=3600_i32 {
            let (north, east) = direction(i64::from(tenth), 3600);
            let angle = (f64::from(tenth) / 10.0).to_radians();
            assert!((north as f64 / 65536.0 - angle.cos()).abs() < 7e-5, "{tenth}");
            assert!((east as f64 / 65536.0 - angle.sin()).abs() < 7e-5, "{tenth}");
        }
        assert_eq!(direction(-90, 360), (0, -ONE));
    }

    #[test]
    fn a_mile_is_about_a_minute_and_wider_in_longitude() {
        assert_eq!(minutes_per_mile(0), (65859, 65419));
        let (north, east) = minutes_per_mile(60 * 60);
        assert!((north - ONE).abs() < 400 && (east - 2 * ONE).abs() < 800);
        assert_eq!(minutes_per_mile(u64::MAX), minutes_per_mile(86 * 60));
    }
}
