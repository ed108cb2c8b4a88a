//! The embedded places, inflated and decoded on first use.
//!
//! The layout is described where the file is made, in `data/generate.py`. Not here: which places are near.

use std::io::Read;
use std::ops::Range;
use std::sync::LazyLock;

/// The generated file.
static EMBEDDED: &[u8] = include_bytes!("../../../data/places.bin.gz");

/// All places; about 9 MB, made in about 40 ms.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(EMBEDDED).read_to_end(&mut bytes).expect("the embedded file is a whole gzip file");
    Columns(&bytes).table()
});

/// Units of one degree.
pub(super) const UNITS: i32 = 100_000;

/// Rows of one degree of latitude.
const ROWS_PER_DEGREE: i32 = 2;

/// Half a degree of latitude each, from the south pole northwards.
const ROWS: usize = 180 * ROWS_PER_DEGREE as usize;

/// Set in the id of an airport, so that airports come after towns at the same distance.
const AIRPORT: u32 = 1 << 24;

/// Columns of places, sorted by row, then longitude.
#[derive(Debug)]
pub(super) struct Table {
    /// Where each row ends.
    row_ends: Vec<usize>,
    /// In units, -180 to 180 degrees.
    longitudes: Vec<i32>,
    /// In units, -90 to 90 degrees.
    latitudes: Vec<i32>,
    ids: Vec<u32>,
    vicinities: Vec<u16>,
    vicinity_names: Vec<Box<str>>,
    /// Where in `names` each name ends.
    name_ends: Vec<u32>,
    names: Box<str>,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    /// A populated place, by its GeoNames number.
    Town(u32),
    /// An airport, by its IATA code.
    Airport([u8; 3]),
}

impl Table {
    /// How many places there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The rows that latitudes from `south` to `north`, in units, fall into.
    pub(super) fn rows(&self, south: i32, north: i32) -> impl Iterator<Item = Range<usize>> + '_ {
        let start = |row: usize| row.checked_sub(1).map_or(0, |before| self.row_ends[before]);
        (row(south)..=row(north)).map(move |row| start(row)..self.row_ends[row])
    }

    /// The part of a row between two longitudes, in units, both included.
    pub(super) fn between(&self, row: Range<usize>, west: i32, east: i32) -> Range<usize> {
        let longitudes = &self.longitudes[row.clone()];
        let first = longitudes.partition_point(|&longitude| longitude < west);
        let end = first + longitudes[first..].partition_point(|&longitude| longitude <= east);
        row.start + first..row.start + end
    }

    /// In units.
    pub(super) fn latitude(&self, place: usize) -> i32 {
        self.latitudes[place]
    }

    /// In units.
    pub(super) fn longitude(&self, place: usize) -> i32 {
        self.longitudes[place]
    }

    /// A number of its own for each place: GeoNames numbers, then airports in the order of their codes.
    pub(super) fn order(&self, place: usize) -> u32 {
        self.ids[place]
    }

    pub(super) fn id(&self, place: usize) -> Id {
        let id = self.ids[place];
        if id & AIRPORT == 0 {
            return Id::Town(id);
        }
        let number = id ^ AIRPORT;
        Id::Airport([number / 676, number / 26 % 26, number % 26].map(|letter| b'A' + letter as u8))
    }

    pub(super) fn name(&self, place: usize) -> &str {
        let start = place.checked_sub(1).map_or(0, |before| self.name_ends[before]);
        &self.names[start as usize..self.name_ends[place] as usize]
    }

    /// The region a place is in.
    pub(super) fn vicinity(&self, place: usize) -> &str {
        &self.vicinity_names[usize::from(self.vicinities[place])]
    }
}

/// The row of a latitude in units; that of the nearer pole for one beyond it.
fn row(latitude: i32) -> usize {
    let row = (latitude + 90 * UNITS).max(0) * ROWS_PER_DEGREE / UNITS;
    (row as usize).min(ROWS - 1)
}

/// What is left of the inflated file.
///
/// Panics where the file ends too early: it is part of the program, and a test decodes it.
struct Columns<'a>(&'a [u8]);

impl<'a> Columns<'a> {
    fn table(mut self) -> Table {
        let vicinity_names = self.vicinity_names();
        let row_ends = self.row_ends();
        let places = row_ends[ROWS - 1];
        let longitudes = self.longitudes(&row_ends);
        let latitudes = self.latitudes(&row_ends);
        let mut ids = self.planes(places, 3);
        let vicinities = self.vicinities(&mut ids);
        let name_ends = self.name_ends(places);
        let names = self.text(self.0.len());
        Table { row_ends, longitudes, latitudes, ids, vicinities, vicinity_names, name_ends, names }
    }

    fn vicinity_names(&mut self) -> Vec<Box<str>> {
        let count = self.integer();
        let mut next = || {
            let bytes = self.integer() as usize;
            self.text(bytes)
        };
        (0..count).map(|_| next()).collect()
    }

    fn row_ends(&mut self) -> Vec<usize> {
        let counts = (0..ROWS).map(|_| self.integer() as usize);
        counts.scan(0, |end, count| Some(add(end, count))).collect()
    }

    fn longitudes(&mut self, row_ends: &[usize]) -> Vec<i32> {
        let mut longitudes = Vec::with_capacity(row_ends[ROWS - 1]);
        for &end in row_ends {
            let mut longitude = -180 * UNITS;
            longitudes.extend((longitudes.len()..end).map(|_| {
                longitude += self.integer() as i32;
                longitude
            }));
        }
        longitudes
    }

    fn latitudes(&mut self, row_ends: &[usize]) -> Vec<i32> {
        let offsets = self.planes(row_ends[ROWS - 1], 2);
        let mut latitudes = Vec::with_capacity(offsets.len());
        for (row, &end) in row_ends.iter().enumerate() {
            let south = row as i32 * UNITS / ROWS_PER_DEGREE - 90 * UNITS;
            latitudes.extend(offsets[latitudes.len()..end].iter().map(|&offset| south + offset as i32));
        }
        latitudes
    }

    /// Reads where each place is, and marks the ids of airports.
    fn vicinities(&mut self, ids: &mut [u32]) -> Vec<u16> {
        let mut next = |id: &mut u32| {
            let vicinity = self.integer();
            *id |= AIRPORT * (vicinity & 1);
            (vicinity >> 1) as u16
        };
        ids.iter_mut().map(&mut next).collect()
    }

    fn name_ends(&mut self, places: usize) -> Vec<u32> {
        self.bytes(places).iter().scan(0, |end, &bytes| Some(add(end, u32::from(bytes)))).collect()
    }

    /// Numbers whose bytes lie apart: all lowest bytes first.
    fn planes(&mut self, count: usize, planes: usize) -> Vec<u32> {
        let mut numbers = vec![0; count];
        for plane in 0..planes {
            for (number, &byte) in numbers.iter_mut().zip(self.bytes(count)) {
                *number |= u32::from(byte) << (8 * plane);
            }
        }
        numbers
    }

    fn text(&mut self, bytes: usize) -> Box<str> {
        std::str::from_utf8(self.bytes(bytes)).expect("names are UTF-8").into()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    /// LEB128.
    fn integer(&mut self) -> u32 {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.bytes(1)[0];
            number |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }
}

fn add<N: Copy + std::ops::AddAssign>(sum: &mut N, more: N) -> N {
    *sum += more;
    *sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_decodes_to_every_place_of_its_sources() {
        assert_eq!(TABLE.len(), 242_792);
        let airports = (0..TABLE.len()).filter(|&place| matches!(TABLE.id(place), Id::Airport(_))).count();
        assert_eq!(airports, 7_884);
    }

    #[test]
    fn every_place_lies_in_its_row_and_in_order_of_longitude() {
        for (number, row) in TABLE.rows(-90 * UNITS, 90 * UNITS).enumerate() {
            assert!(row.clone().all(|place| super::row(TABLE.latitude(place)) == number));
            assert!(TABLE.longitudes[row].is_sorted());
        }
    }

    #[test]
    fn a_known_place_has_its_name_region_and_id() {
        let place = (0..TABLE.len()).find(|&place| TABLE.id(place) == Id::Airport(*b"SMO")).expect("listed");
        assert_eq!(TABLE.name(place), "Santa Monica Municipal Airport");
        assert_eq!(TABLE.vicinity(place), "Santa Monica, California, United States");
        let place = (0..TABLE.len()).find(|&place| TABLE.id(place) == Id::Town(2_657_896)).expect("listed");
        assert_eq!((TABLE.name(place), TABLE.vicinity(place)), ("Zürich", "Switzerland"));
    }

    #[test]
    fn no_two_places_share_an_order() {
        let mut orders = TABLE.ids.clone();
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), TABLE.len());
    }
}
