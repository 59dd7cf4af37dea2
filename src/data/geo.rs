//! Positions on the Earth as scores of a sorted set, and the search for those near another.
//!
//! A position is where a grid of 2^26 by 2^26 cells has it. The bits of the cell's column and row
//! take turns in the score, so that each cell of a coarser grid is one range of scores: a geohash.
//! A search looks through the coarse cell that its center is in and through the eight around it,
//! which are as small as they can be to cover what is sought.
//!
//! Every step of the arithmetic is done in the order in which Redis does it, since the last bit of
//! a distance decides on what is within it, and the coarse cells on the order of an answer.

use std::f64::consts::PI;
use std::ops::Range;

use crate::util::number::truncate;

/// Bits of a column, or of a row, of the finest grid.
const STEP_MAX: u32 = 26;

const LONGITUDES: Span = Span { min: -180.0, max: 180.0 };

/// What the Web Mercator projection shows: there is nothing at the poles.
/// <https://epsg.io/3857>
const LATITUDES: Span = Span { min: -85.051_128_78, max: 85.051_128_78 };

/// A sphere about as large as the Earth.
const RADIUS_METERS: f64 = 6_372_797.560_856;

/// Half the length of the equator, as the projection has it.
const MERCATOR_METERS_MAX: f64 = 20_037_726.37;

const DEGREE: f64 = PI / 180.0;

/// Above the one the cells are so narrow that a search needs coarser ones, and above the other
/// coarser ones yet.
const NARROW_LATITUDES: [f64; 2] = [66.0, 80.0];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    min: f64,
    max: f64,
}

impl Span {
    /// In which of 2^`step` equal parts a value is.
    fn part(self, value: f64, step: u32) -> u32 {
        ((value - self.min) / (self.max - self.min) * f64::from(1 << step)) as u32
    }

    fn of_part(self, part: u32, step: u32) -> Self {
        let border =
            |part: u32| self.min + f64::from(part) / f64::from(1 << step) * (self.max - self.min);
        Self { min: border(part), max: border(part.wrapping_add(1)) }
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }

    fn clamp(self, value: f64) -> f64 {
        value.clamp(self.min, self.max)
    }

    fn has(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// In degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    pub longitude: f64,
    pub latitude: f64,
}

impl Position {
    /// Whether it can be kept: not beyond 85.05112878 degrees to the north or south.
    pub fn is_valid(self) -> bool {
        LONGITUDES.has(self.longitude) && LATITUDES.has(self.latitude)
    }

    /// The score of its cell in the finest grid.
    pub fn score(self) -> f64 {
        Cell::of(self, STEP_MAX, LATITUDES).bits as f64
    }

    /// The middle of the cell of a score. Any score is taken for one, as by a processor that has no
    /// conversion to numbers without a sign.
    pub fn of_score(score: f64) -> Self {
        const HALF: f64 = (1_u64 << 63) as f64;
        let bits = match score < HALF {
            true => truncate(score) as u64,
            false => truncate(score - HALF) as u64 ^ 1 << 63,
        };
        let area = Cell { bits, step: STEP_MAX }.area();
        Self {
            longitude: LONGITUDES.clamp(area.longitudes.middle()),
            latitude: LATITUDES.clamp(area.latitudes.middle()),
        }
    }

    /// The geohash as other programs write it, which count the latitudes up to the poles. Its last
    /// letter says nothing: ten hold 50 of the 52 bits.
    /// <https://en.wikipedia.org/wiki/Geohash>
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let latitudes = Span { min: -90.0, max: 90.0 };
        let bits = Cell::of(self, STEP_MAX, latitudes).bits;
        let letter = |at: usize| match at {
            10 => LETTERS[0],
            _ => LETTERS[(bits >> (47 - 5 * at)) as usize % 32],
        };
        std::array::from_fn(letter)
    }

    /// In meters, along the surface of a sphere.
    pub fn distance(self, other: Self) -> f64 {
        Origin::new(self).distance(other)
    }
}

fn latitude_distance(from: f64, to: f64) -> f64 {
    RADIUS_METERS * (to * DEGREE - from * DEGREE).abs()
}

/// Where distances are measured from: what is asked of it each time, computed once.
#[derive(Clone, Copy)]
struct Origin {
    position: Position,
    longitude_radians: f64,
    latitude_radians: f64,
    cosine: f64,
}

impl Origin {
    fn new(position: Position) -> Self {
        let latitude_radians = position.latitude * DEGREE;
        Self {
            position,
            longitude_radians: position.longitude * DEGREE,
            latitude_radians,
            cosine: latitude_radians.cos(),
        }
    }

    /// The haversine formula.
    fn distance(&self, to: Position) -> f64 {
        let across = ((to.longitude * DEGREE - self.longitude_radians) / 2.0).sin();
        if across == 0.0 {
            return latitude_distance(self.position.latitude, to.latitude);
        }
        let latitude = to.latitude * DEGREE;
        let along = ((latitude - self.latitude_radians) / 2.0).sin();
        let part = along * along + self.cosine * latitude.cos() * across * across;
        2.0 * RADIUS_METERS * part.sqrt().asin()
    }
}

/// What a search looks within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub center: Position,
    pub outline: Outline,
    /// Meters in the unit of the outline.
    pub unit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outline {
    Circle {
        radius: f64,
    },
    /// The center is in its middle.
    Box {
        width: f64,
        height: f64,
    },
}

impl Shape {
    /// The ranges of scores to look through, in Redis's order: the cell of the center first.
    pub fn ranges(&self) -> impl Iterator<Item = Range<f64>> {
        let mut before = None;
        self.cells().into_iter().flatten().enumerate().filter_map(move |(at, cell)| {
            // A search for half the Earth comes round to the same cell from both sides.
            if at > 0 && before.replace(cell) == Some(cell) {
                return None;
            }
            Some(cell.scores())
        })
    }

    /// The distance of a position in meters, if it is within.
    pub fn finder(&self) -> impl Fn(Position) -> Option<f64> {
        let origin = Origin::new(self.center);
        let Self { center, outline, unit } = *self;
        move |position| match outline {
            Outline::Circle { radius } => {
                let distance = origin.distance(position);
                if distance > radius * unit { None } else { Some(distance) }
            }
            Outline::Box { width, height } => {
                let up = latitude_distance(position.latitude, center.latitude);
                if up > height * unit / 2.0 {
                    return None;
                }
                let beside = Position { latitude: position.latitude, ..center };
                if position.distance(beside) > width * unit / 2.0 {
                    return None;
                }
                Some(origin.distance(position))
            }
        }
    }

    fn cells(&self) -> [Option<Cell>; 9] {
        let bounds = self.bounds();
        let mut cell = Cell::of(self.center, self.step(), LATITUDES);
        let around = [cell.north(), cell.south(), cell.east(), cell.west()];
        let [north, south, east, west] = around.map(Cell::area);
        let falls_short = north.latitudes.max < bounds.latitudes.max
            || south.latitudes.min > bounds.latitudes.min
            || east.longitudes.max < bounds.longitudes.max
            || west.longitudes.min > bounds.longitudes.min;
        if falls_short && cell.step > 1 {
            cell = Cell::of(self.center, cell.step - 1, LATITUDES);
        }
        let area = cell.area();
        let is_coarse = cell.step < 2;
        let north = is_coarse || area.latitudes.max <= bounds.latitudes.max;
        let south = is_coarse || area.latitudes.min >= bounds.latitudes.min;
        let east = is_coarse || area.longitudes.max <= bounds.longitudes.max;
        let west = is_coarse || area.longitudes.min >= bounds.longitudes.min;
        [
            Some(cell),
            north.then(|| cell.north()),
            south.then(|| cell.south()),
            east.then(|| cell.east()),
            west.then(|| cell.west()),
            (north && east).then(|| cell.north().east()),
            (north && west).then(|| cell.north().west()),
            (south && east).then(|| cell.south().east()),
            (south && west).then(|| cell.south().west()),
        ]
    }

    /// Half the width and half the height, in the shape's own unit.
    fn halves(&self) -> (f64, f64) {
        match self.outline {
            Outline::Circle { radius } => (radius, radius),
            Outline::Box { width, height } => (width / 2.0, height / 2.0),
        }
    }

    /// The area to be covered: as wide as it is where it is widest, which is nearest to a pole.
    fn bounds(&self) -> Area {
        let Position { longitude, latitude } = self.center;
        let (width, height) = self.halves();
        let up = self.unit * height / RADIUS_METERS / DEGREE;
        let nearer_pole = if latitude < 0.0 { latitude - up } else { latitude + up };
        let cosine = (nearer_pole * DEGREE).cos();
        let aside = self.unit * width / RADIUS_METERS / cosine / DEGREE;
        Area {
            longitudes: Span { min: longitude - aside, max: longitude + aside },
            latitudes: Span { min: latitude - up, max: latitude + up },
        }
    }

    /// How fine a grid may be whose cells are still as large as the shape.
    fn step(&self) -> u32 {
        let (width, height) = self.halves();
        let reach = match self.outline {
            Outline::Circle { radius } => radius,
            Outline::Box { .. } => (width * width + height * height).sqrt(),
        };
        let mut reach = reach * self.unit;
        if reach == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1;
        while reach < MERCATOR_METERS_MAX {
            reach *= 2.0;
            step += 1;
        }
        let latitude = self.center.latitude.abs();
        let narrow = NARROW_LATITUDES.iter().filter(|limit| latitude > **limit).count() as i32;
        (step - 2 - narrow).clamp(1, STEP_MAX as i32) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    longitudes: Span,
    latitudes: Span,
}

/// A cell of the grid of 2^`step` columns and as many rows. The lowest bit is the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    step: u32,
}

const ROWS: u64 = 0x5555_5555_5555_5555;
const COLUMNS: u64 = !ROWS;

impl Cell {
    fn of(position: Position, step: u32, latitudes: Span) -> Self {
        let row = latitudes.part(position.latitude, step);
        let column = LONGITUDES.part(position.longitude, step);
        Self { bits: spread(row) | spread(column) << 1, step }
    }

    fn area(self) -> Area {
        Area {
            longitudes: LONGITUDES.of_part(gather(self.bits >> 1), self.step),
            latitudes: LATITUDES.of_part(gather(self.bits), self.step),
        }
    }

    /// From the lowest score to the one behind the highest.
    fn scores(self) -> Range<f64> {
        let shift = 2 * (STEP_MAX - self.step);
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }

    /// The next one in a direction, around the Earth if need be: `moving` are the bits that count
    /// that way. The others are filled with ones, or are zero, so that what is carried passes them.
    fn neighbor(self, moving: u64, is_next: bool) -> Self {
        let kept = self.bits & !moving;
        let passed = !moving & self.grid();
        let moved = match is_next {
            true => (self.bits & moving).wrapping_add(passed + 1),
            false => (self.bits & moving | passed).wrapping_sub(passed + 1),
        };
        Self { bits: kept | moved & moving & self.grid(), ..self }
    }

    /// The bits that a cell of this grid has.
    fn grid(self) -> u64 {
        u64::MAX >> (64 - 2 * self.step)
    }

    fn north(self) -> Self {
        self.neighbor(ROWS, true)
    }

    fn south(self) -> Self {
        self.neighbor(ROWS, false)
    }

    fn east(self) -> Self {
        self.neighbor(COLUMNS, true)
    }

    fn west(self) -> Self {
        self.neighbor(COLUMNS, false)
    }
}

const HALVES: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, ROWS),
];

/// Each bit at twice its place.
fn spread(bits: u32) -> u64 {
    HALVES.iter().fold(u64::from(bits), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Every second bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let close = |bits, (shift, mask): (u32, u64)| (bits | bits >> shift) & mask;
    let masks = [(0, ROWS), (1, HALVES[3].1), (2, HALVES[2].1), (4, HALVES[1].1), (8, HALVES[0].1)];
    let bits = masks.into_iter().fold(bits, close);
    (bits | bits >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    fn at(longitude: f64, latitude: f64) -> Position {
        Position { longitude, latitude }
    }

    fn anywhere(rng: &mut Rng) -> Position {
        at(rng.next_f64() * 360.0 - 180.0, rng.next_f64() * 170.1 - 85.05)
    }

    /// Recorded from Redis 7.4.1: ZSCORE, GEOPOS, GEODIST and GEOHASH.
    #[test]
    fn palermo_and_catania_are_where_redis_has_them() {
        let (palermo, catania) = (at(13.361389, 38.115556), at(15.087269, 37.502669));
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(catania.score(), 3_479_447_370_796_909.0);
        let [palermo, catania] = [palermo, catania].map(|it| Position::of_score(it.score()));
        assert_eq!(format!("{:.17}", catania.longitude), "15.08726745843887329");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
    }

    #[test]
    fn any_score_is_a_position() {
        let all = [-1.0, 1e300, f64::NEG_INFINITY, f64::INFINITY, 0.0, 4503599627370495.0];
        for score in all {
            assert!(Position::of_score(score).is_valid(), "{score}");
        }
        assert_eq!(Position::of_score(1e300), Position::of_score(0.0));
        assert_eq!(Position::of_score(-1.0), at(180.0, 85.05112878));
        assert!(!at(180.1, 0.0).is_valid());
        assert!(!at(0.0, f64::NAN).is_valid());
    }

    #[test]
    fn a_score_leads_back_to_within_a_meter() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..2_000 {
            let position = anywhere(&mut rng);
            let found = Position::of_score(position.score());
            assert!(position.distance(found) < 1.0, "{position:?} {found:?}");
            assert_eq!(found.score(), position.score());
        }
    }

    #[test]
    fn cells_have_neighbors_on_all_sides() {
        let cell = Cell { bits: 0, step: 2 };
        assert_eq!((cell.north().bits, cell.east().bits), (0b0001, 0b0010));
        assert_eq!((cell.south().bits, cell.west().bits), (0b0101, 0b1010));
        let mut rng = Rng::from_seed(2);
        for _ in 0..1_000 {
            let step = 1 + rng.below(26) as u32;
            let cell = Cell::of(anywhere(&mut rng), step, LATITUDES);
            assert_eq!(cell.north().south(), cell);
            assert_eq!(cell.west().east(), cell);
            assert_eq!(cell.north().east(), cell.east().north());
            assert_eq!(gather(cell.bits >> 1), gather(cell.north().bits >> 1));
            assert_eq!(spread(gather(cell.bits)) | spread(gather(cell.bits >> 1)) << 1, cell.bits);
        }
    }

    /// Whatever a look at every position finds is in the ranges.
    #[test]
    fn ranges_hold_all_that_is_within() {
        let mut rng = Rng::from_seed(3);
        for _ in 0..300 {
            let size = 10_f64.powf(rng.next_f64() * 6.0);
            let outline = match rng.below(2) {
                0 => Outline::Circle { radius: size },
                _ => Outline::Box { width: size, height: size * (0.1 + rng.next_f64()) },
            };
            let mut center = anywhere(&mut rng);
            center.latitude *= 0.7;
            let shape = Shape { center, outline, unit: 1.0 };
            let ranges: Vec<_> = shape.ranges().collect();
            let find = shape.finder();
            let mut found = 0;
            for _ in 0..300 {
                let span = size / 50_000.0;
                let near = at(
                    LONGITUDES.clamp(center.longitude + (rng.next_f64() - 0.5) * span),
                    LATITUDES.clamp(center.latitude + (rng.next_f64() - 0.5) * span),
                );
                let score = near.score();
                if find(Position::of_score(score)).is_some() {
                    found += 1;
                    let holds = ranges.iter().any(|range| range.contains(&score));
                    assert!(holds, "{shape:?} {near:?} {ranges:?}");
                }
            }
            assert!(found > 0, "{shape:?}");
        }
    }
}
