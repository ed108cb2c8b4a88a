//! Servers and links of big herds, made by a rule.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom as _;

use super::raw::{Generate, Shape};

/// How often a random regular graph is drawn until it is simple and connected. From degree 3 on nearly every graph is.
const ATTEMPTS: u32 = 1000;

/// More links would take gigabytes.
const MOST_LINKS: u64 = 5_000_000;

/// The names of the servers, numbered from 1 and as wide as the last one.
pub(super) fn names(n: u32) -> impl Iterator<Item = String> {
    let width = n.to_string().len().max(4);
    (1..=n).map(move |number| format!("s{number:0width$}"))
}

/// The links, as places of servers; an error says why there can be none.
pub(super) fn links(rule: Generate, herd_seed: u64) -> Result<Vec<[u32; 2]>, String> {
    let n = rule.n;
    check(rule)?;
    Ok(match rule.shape {
        Shape::Line => (1..n).map(|b| [b - 1, b]).collect(),
        Shape::Ring if n < 3 => return Err("a ring has at least 3 servers".into()),
        Shape::Ring => (0..n).map(|a| [a, (a + 1) % n]).collect(),
        Shape::Star => (1..n).map(|b| [0, b]).collect(),
        Shape::Full => pairs(n).collect(),
        Shape::Grid => grid(n),
        Shape::Tree => (1..n).map(|child| [(child - 1) / rule.degree.unwrap_or(2), child]).collect(),
        Shape::RandomRegular => random_regular(n, rule.degree, rule.seed.unwrap_or(herd_seed))?,
    })
}

/// Every two of `n`, in order.
fn pairs(n: u32) -> impl Iterator<Item = [u32; 2]> {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| [a, b]))
}

/// Refuses keys that say nothing about the shape at hand, and more links than a machine can hold.
fn check(rule: Generate) -> Result<(), String> {
    let regular = rule.shape == Shape::RandomRegular;
    if rule.degree.is_some() && !regular && rule.shape != Shape::Tree {
        return Err("`degree` means nothing for this shape".into());
    }
    if rule.seed.is_some() && !regular {
        return Err("`seed` means nothing for this shape".into());
    }
    let per_server = match rule.shape {
        Shape::Full => rule.n - 1,
        Shape::RandomRegular => rule.degree.unwrap_or(0),
        _ => return Ok(()),
    };
    let links = u64::from(rule.n) * u64::from(per_server) / 2;
    if links > MOST_LINKS { Err(format!("{links} links are more than the {MOST_LINKS} there can be")) } else { Ok(()) }
}

fn grid(n: u32) -> Vec<[u32; 2]> {
    let columns = n.isqrt() + u32::from(n.isqrt() * n.isqrt() < n);
    let links = (0..n).flat_map(|a| {
        let right = Some(a + 1).filter(|b| b % columns != 0 && *b < n);
        let below = Some(a + columns).filter(|b| *b < n);
        right.into_iter().chain(below).map(move |b| [a, b])
    });
    links.collect()
}

/// Steger and Wormald, "Generating random regular graphs quickly" (1999): pair free ends at random, and never make a loop or a
/// second link; drawn again when that gets stuck or the graph is not connected.
fn random_regular(n: u32, degree: Option<u32>, seed: u64) -> Result<Vec<[u32; 2]>, String> {
    let Some(degree) = degree else { return Err("a random regular graph needs `degree`".into()) };
    if degree >= n {
        return Err(format!("{n} servers cannot have {degree} neighbours each"));
    }
    if u64::from(n) * u64::from(degree) % 2 == 1 {
        return Err("`n` times `degree` must be even: each link has two ends".into());
    }
    if degree == 1 && n > 2 {
        return Err("with one neighbour each, more than two servers cannot be connected".into());
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn = if degree > n / 2 {
        draw_gaps(n, degree, &mut random)
    } else {
        (0..ATTEMPTS).find_map(|_| draw(n, degree, &mut random).filter(|links| is_connected(n, links)))
    };
    drawn.ok_or_else(|| "no connected graph was found: raise `degree`".into())
}

/// Where most are linked with most, drawing links gets stuck at the end; who is *not* linked is easy to draw. Such a graph is
/// connected: everybody is linked with at least half of the others.
fn draw_gaps(n: u32, degree: u32, random: &mut ChaCha8Rng) -> Option<Vec<[u32; 2]>> {
    let gaps = (0..ATTEMPTS).find_map(|_| draw(n, n - 1 - degree, random))?;
    Some(pairs(n).filter(|pair| gaps.binary_search(pair).is_err()).collect())
}

fn draw(n: u32, degree: u32, random: &mut ChaCha8Rng) -> Option<Vec<[u32; 2]>> {
    let mut neighbours = vec![Vec::with_capacity(degree as usize); n as usize];
    let mut links = Vec::with_capacity((n * degree / 2) as usize);
    let mut ends: Vec<u32> = (0..n).flat_map(|server| std::iter::repeat_n(server, degree as usize)).collect();
    while !ends.is_empty() {
        ends.shuffle(random);
        let before = ends.len();
        let mut left = Vec::new();
        for pair in ends.chunks_exact(2) {
            let [a, b] = [pair[0].min(pair[1]), pair[0].max(pair[1])];
            if a == b || neighbours[a as usize].contains(&b) {
                left.extend([a, b]);
            } else {
                neighbours[a as usize].push(b);
                links.push([a, b]);
            }
        }
        if left.len() == before {
            return None;
        }
        ends = left;
    }
    links.sort_unstable();
    Some(links)
}

fn is_connected(n: u32, links: &[[u32; 2]]) -> bool {
    let mut sets = petgraph::unionfind::UnionFind::new(n as usize);
    let joined = links.iter().filter(|[a, b]| sets.union(*a as usize, *b as usize)).count();
    joined + 1 == n as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(shape: Shape, n: u32, degree: Option<u32>) -> Vec<[u32; 2]> {
        links(Generate { shape, n, degree, seed: None, first_port: None }, 1).expect("there is such a graph")
    }

    #[test]
    fn shapes_have_the_links_their_names_say() {
        assert_eq!(made(Shape::Line, 3, None), [[0, 1], [1, 2]]);
        assert_eq!(made(Shape::Ring, 3, None), [[0, 1], [1, 2], [2, 0]]);
        assert_eq!(made(Shape::Star, 3, None), [[0, 1], [0, 2]]);
        assert_eq!(made(Shape::Full, 3, None), [[0, 1], [0, 2], [1, 2]]);
        assert_eq!(made(Shape::Grid, 5, None), [[0, 1], [0, 3], [1, 2], [1, 4], [3, 4]]);
        assert_eq!(made(Shape::Tree, 5, None), [[0, 1], [0, 2], [1, 3], [1, 4]]);
    }

    #[test]
    fn random_regular_graphs_are_simple_connected_regular_and_the_same_for_a_seed() {
        for (n, degree) in [(2, 1), (4, 3), (10, 3), (1000, 4), (50, 20), (60, 58), (60, 59), (61, 50)] {
            let links = made(Shape::RandomRegular, n, Some(degree));
            let mut distinct = links.clone();
            distinct.dedup();
            assert_eq!((links.len(), distinct.len()), ((n * degree / 2) as usize, (n * degree / 2) as usize));
            for server in 0..n {
                assert_eq!(links.iter().flatten().filter(|&&end| end == server).count(), degree as usize);
            }
            assert!(is_connected(n, &links) && links.iter().all(|[a, b]| a < b));
        }
        let golden = [[0, 1], [0, 2], [0, 5], [1, 3], [1, 4], [2, 4], [2, 5], [3, 4], [3, 5]];
        assert_eq!(made(Shape::RandomRegular, 6, Some(3)), golden);
    }

    #[test]
    fn graphs_that_cannot_be_are_refused() {
        for (n, degree) in [(3, Some(3)), (5, Some(3)), (4, Some(1)), (4, None)] {
            assert!(random_regular(n, degree, 1).is_err());
        }
    }
}
