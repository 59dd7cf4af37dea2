//! The commands on positions on the Earth, which a sorted set keeps as scores.

use super::prelude::*;
use crate::data::Zset;
use crate::data::geo::{Outline, Position, Shape};
use crate::data::item::Item;
use crate::data::zset::Inserted;
use crate::proto::args::is_keyword;
use crate::util::number;
use std::ops::Bound;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Geo, &[
    row("geoadd",               "3.2.0",  AtLeast(5), Keys::one(1).updates(), &[Write, DenyOom], geoadd, "key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]", "Adds members at positions, or moves them."),
    row("geodist",              "3.2.0",  AtLeast(4), Keys::one(1).reads(), &[Read], geodist, "key member1 member2 [M|KM|FT|MI]", "Answers how far it is from one member to another."),
    row("geohash",              "3.2.0",  AtLeast(2), Keys::one(1).reads(), &[Read], geohash, "key [member [member ...]]", "Answers the members' positions as geohashes."),
    row("geopos",               "3.2.0",  AtLeast(2), Keys::one(1).reads(), &[Read], geopos, "key [member [member ...]]", "Answers the members' positions."),
    row("georadius",            "3.2.0",  AtLeast(6), stored(6), &[Write, DenyOom], georadius, "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [<COUNT count> [ANY]] [ASC|DESC] [STORE key | STOREDIST key]", "Answers or stores the members around a position."),
    row("georadius_ro",         "3.2.10", AtLeast(6), Keys::one(1).reads(), &[Read], georadius_ro, "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [<COUNT count> [ANY]] [ASC|DESC]", "Answers the members around a position."),
    row("georadiusbymember",    "3.2.0",  AtLeast(5), stored(5), &[Write, DenyOom], georadiusbymember, "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [<COUNT count> [ANY]] [ASC|DESC] [STORE key | STOREDIST key]", "Answers or stores the members around another."),
    row("georadiusbymember_ro", "3.2.10", AtLeast(5), Keys::one(1).reads(), &[Read], georadiusbymember_ro, "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [<COUNT count> [ANY]] [ASC|DESC]", "Answers the members around another."),
    row("geosearch",            "6.2.0",  AtLeast(7), Keys::one(1).reads(), &[Read], geosearch, "key <FROMMEMBER member | FROMLONLAT longitude latitude> <<BYRADIUS radius> M|KM|FT|MI | <BYBOX width> height M|KM|FT|MI> [ASC|DESC] [<COUNT count> [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]", "Answers the members within a circle or a box."),
    row("geosearchstore",       "6.2.0",  AtLeast(8), Keys::one(1).overwrites().and(Keys::one(2).reads()), &[Write, DenyOom], geosearchstore, "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <<BYRADIUS radius> M|KM|FT|MI | <BYBOX width> height M|KM|FT|MI> [ASC|DESC] [<COUNT count> [ANY]] [STOREDIST]", "Stores the members within a circle or a box."),
]);

/// Where the members come from, and where they may be stored: behind a word from `first` on.
const fn stored(first: i64) -> Keys {
    let find = Find::Range { last: 0, step: 1, limit: 0 };
    let target = Keys::spec(Begin::Behind("STORE", first), find).overwrites();
    let distances = Keys::spec(Begin::Behind("STOREDIST", first), find).overwrites();
    Keys::one(1).reads().and(target).and(distances)
}

/// The units of length in meters, by name.
const UNITS: &[(&str, f64)] = &[("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];

fn read_unit(word: &[u8]) -> Result<f64> {
    let unit = UNITS.iter().find(|(name, _)| is_keyword(word, name));
    unit.map(|(_, meters)| *meters)
        .ok_or_else(|| Error::new("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

fn read_position(args: &mut Args) -> Result<Position> {
    let position = Position { longitude: args.double()?, latitude: args.double()? };
    if position.is_valid() {
        return Ok(position);
    }
    let Position { longitude, latitude } = position;
    Err(Error::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

fn read_length(args: &mut Args, name: &str) -> Result<f64> {
    let length = number::parse_f64(args.word()?);
    length.ok_or_else(|| Error::new(format!("ERR need numeric {name}")))
}

fn geoadd<'a>(cx: &mut Ctx, mut args: Args<'a>, reply: &mut Reply) -> Result {
    let key = args.key();
    let (mut must_exist, mut must_be_new, mut counts_changes) = (false, false, false);
    let mut options =
        [("xx", &mut must_exist), ("nx", &mut must_be_new), ("ch", &mut counts_changes)];
    while let Some((_, option)) = options.iter_mut().find(|(word, _)| args.accept(word)) {
        **option = true;
    }
    if !args.left().is_multiple_of(3) || must_exist && must_be_new {
        return Err(Error::Syntax);
    }
    let mut members: Vec<(f64, &'a [u8])> = Vec::with_capacity(args.left() / 3);
    while args.left() > 0 {
        members.push((read_position(&mut args)?.score(), args.given()));
    }

    let mut edit = cx.edit_or_create::<Zset>(key)?;
    let (zset, limits) = edit.with_limits();
    zset.expect(members.len(), 0, limits);
    let (mut added, mut moved) = (0, 0);
    for (score, member) in members {
        if must_exist && zset.score(member).is_none() || must_be_new && zset.score(member).is_some()
        {
            continue;
        }
        match zset.insert(member, score, limits) {
            Inserted::Added => added += 1,
            Inserted::Updated => moved += 1,
            Inserted::Unchanged => {}
        }
    }
    reply.count(if counts_changes { added + moved } else { added });
    if added + moved > 0 {
        edit.commit_many("zadd", added + moved);
    }
    Ok(())
}

fn position_of(zset: Option<&Zset>, member: &[u8]) -> Option<Position> {
    zset?.score(member).map(Position::of_score)
}

/// With four digits behind the point.
fn write_distance(distance: f64, reply: &mut Reply) {
    let scaled = number::truncate((distance * 10_000.0).round_ties_even());
    let (sign, scaled) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    reply.bulk(format!("{sign}{}.{:04}", scaled / 10_000, scaled % 10_000).as_bytes());
}

fn write_position(position: Position, reply: &mut Reply) {
    reply.array(2);
    reply.long_double(position.longitude);
    reply.long_double(position.latitude);
}

fn geodist(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, from, to) = (args.key(), args.given(), args.given());
    let unit = match args.left() {
        0 => 1.0,
        1 => read_unit(args.given())?,
        _ => return Err(Error::Syntax),
    };
    let zset = cx.read::<Zset>(key)?;
    match (position_of(zset, from), position_of(zset, to)) {
        (Some(from), Some(to)) => write_distance(from.distance(to) / unit, reply),
        _ => reply.null(),
    }
    Ok(())
}

fn geohash(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let zset = cx.read::<Zset>(args.key())?;
    reply.array(args.left());
    for member in args {
        match position_of(zset, member) {
            Some(position) => reply.bulk(&position.geohash()),
            None => reply.null(),
        }
    }
    Ok(())
}

fn geopos(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let zset = cx.read::<Zset>(args.key())?;
    reply.array(args.left());
    for member in args {
        match position_of(zset, member) {
            Some(position) => write_position(position, reply),
            None => reply.null_array(),
        }
    }
    Ok(())
}

/// What sets the commands that search apart.
#[derive(Clone, Copy)]
struct Search {
    /// How the arguments begin.
    start: Start,
    stores: Stores,
}

/// Whether it can keep what is found, instead of answering it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stores {
    Never,
    /// Where an option says so.
    ByOption,
    /// Where the first argument says.
    Always,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Position,
    Member,
    /// With nothing: all is told by options.
    Options,
}

/// What options say. They may be repeated; the last one counts.
#[derive(Default)]
struct Query<'a> {
    center: Option<Position>,
    /// Whether the center is that of a member.
    is_member: bool,
    outline: Option<Outline>,
    unit: f64,
    order: Option<Order>,
    /// 0: all.
    count: usize,
    /// Whether any will do, or those that are nearest.
    takes_any: bool,
    shows_position: bool,
    shows_distance: bool,
    shows_score: bool,
    target: Option<&'a [u8]>,
    stores_distance: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

impl<'a> Query<'a> {
    /// Reads what is left. Without a key, whatever member is meant has no position.
    fn parse(
        mut args: Args<'a>,
        search: Search,
        zset: Option<&Zset>,
        target: Option<&'a [u8]>,
    ) -> Result<Self> {
        let mut query = Self { target, unit: 1.0, ..Self::default() };
        let name = args.all()[0];
        match search.start {
            Start::Position => {
                query.center = Some(read_position(&mut args)?);
                query.read_circle(&mut args)?;
            }
            Start::Member => match zset {
                Some(zset) => {
                    query.center = Some(read_center(zset, args.given())?);
                    query.read_circle(&mut args)?;
                }
                None => _ = args.take_words(3)?,
            },
            Start::Options => {}
        }
        while args.left() > 0 {
            query.read_option(&mut args, search, zset)?;
        }

        let is_refused = query.shows_position || query.shows_distance || query.shows_score;
        let is_chosen = search.start != Start::Options;
        let exactly_one = |of: &str| {
            Error::quoting(&format!("ERR exactly one of {of} can be specified for "), name, "")
        };
        if query.target.is_some() && is_refused {
            let what = if is_chosen { "STORE option in GEORADIUS" } else { "GEOSEARCHSTORE" };
            return Err(Error::new(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if !is_chosen && query.center.is_none() {
            return Err(exactly_one("FROMMEMBER or FROMLONLAT"));
        }
        if !is_chosen && query.outline.is_none() {
            return Err(exactly_one("BYRADIUS and BYBOX"));
        }
        if query.takes_any && query.count == 0 {
            return Err(Error::new("ERR the ANY argument requires COUNT argument"));
        }
        if query.count > 0 && !query.takes_any {
            query.order.get_or_insert(Order::Nearest);
        }
        Ok(query)
    }

    fn read_option(&mut self, args: &mut Args<'a>, search: Search, zset: Option<&Zset>) -> Result {
        let left = args.left() - 1;
        let has_shape = search.start == Start::Options;
        let may_store = search.stores == Stores::ByOption;
        let may_be_member = has_shape && (self.is_member || self.center.is_none());
        let is_circle = matches!(self.outline, Some(Outline::Circle { .. }));
        let is_box = matches!(self.outline, Some(Outline::Box { .. }));
        if args.accept("withdist") {
            self.shows_distance = true;
        } else if args.accept("withhash") {
            self.shows_score = true;
        } else if args.accept("withcoord") {
            self.shows_position = true;
        } else if args.accept("any") {
            self.takes_any = true;
        } else if args.accept("asc") {
            self.order = Some(Order::Nearest);
        } else if args.accept("desc") {
            self.order = Some(Order::Farthest);
        } else if left >= 1 && args.accept("count") {
            let count = args.int()?;
            if count <= 0 {
                return Err(Error::new("ERR COUNT must be > 0"));
            }
            self.count = count as usize;
        } else if left >= 1 && may_store && args.accept("store") {
            (self.target, self.stores_distance) = (args.next(), false);
        } else if left >= 1 && may_store && args.accept("storedist") {
            (self.target, self.stores_distance) = (args.next(), true);
        } else if search.stores == Stores::Always && args.accept("storedist") {
            self.stores_distance = true;
        } else if left >= 1 && may_be_member && args.accept("frommember") {
            self.is_member = true;
            let member = args.given();
            let center = zset.map(|zset| read_center(zset, member)).transpose()?;
            self.center = Some(center.unwrap_or_default());
        } else if left >= 2 && has_shape && !self.is_member && args.accept("fromlonlat") {
            self.center = Some(read_position(args)?);
        } else if left >= 2 && has_shape && !is_box && args.accept("byradius") {
            self.read_circle(args)?;
        } else if left >= 3 && has_shape && !is_circle && args.accept("bybox") {
            let (width, height) = (read_length(args, "width")?, read_length(args, "height")?);
            if width < 0.0 || height < 0.0 {
                return Err(Error::new("ERR height or width cannot be negative"));
            }
            self.unit = read_unit(args.given())?;
            self.outline = Some(Outline::Box { width, height });
        } else {
            return Err(Error::Syntax);
        }
        Ok(())
    }

    fn read_circle(&mut self, args: &mut Args) -> Result {
        let radius = read_length(args, "radius")?;
        if radius < 0.0 {
            return Err(Error::new("ERR radius cannot be negative"));
        }
        self.unit = read_unit(args.given())?;
        self.outline = Some(Outline::Circle { radius });
        Ok(())
    }

    /// The members within, in the order of the answer.
    fn find<'z>(&self, zset: &'z Zset) -> Vec<Found<'z>> {
        let (Some(center), Some(outline)) = (self.center, self.outline) else { return Vec::new() };
        let shape = Shape { center, outline, unit: self.unit };
        let find = shape.finder();
        let enough = if self.takes_any { self.count } else { usize::MAX };
        let candidates = shape.ranges().flat_map(|scores| {
            let ends = (Bound::Included(scores.start), Bound::Excluded(scores.end));
            zset.range(zset.ranks_by_score(ends.0, ends.1))
        });
        let within = candidates.filter_map(|(member, score)| {
            let distance = find(Position::of_score(score))?;
            Some(Found { member, score, distance, place: 0 })
        });
        let mut found: Vec<Found> = within.take(enough).collect();
        found.iter_mut().enumerate().for_each(|(place, found)| found.place = place);
        if let Some(order) = self.order {
            sort(&mut found, order, self.count);
        }
        found.iter_mut().for_each(|it| it.distance /= self.unit);
        found
    }

    fn write(&self, found: &Found, reply: &mut Reply) {
        let shown = [self.shows_distance, self.shows_score, self.shows_position];
        let shown = shown.into_iter().filter(|is_shown| *is_shown).count();
        if shown > 0 {
            reply.array(1 + shown);
        }
        reply.bulk(&found.member);
        if self.shows_distance {
            write_distance(found.distance, reply);
        }
        if self.shows_score {
            reply.int(number::truncate(found.score));
        }
        if self.shows_position {
            write_position(Position::of_score(found.score), reply);
        }
    }
}

fn read_center(zset: &Zset, member: &[u8]) -> Result<Position> {
    position_of(Some(zset), member)
        .ok_or_else(|| Error::new("ERR could not decode requested zset member"))
}

struct Found<'z> {
    member: Item<'z>,
    score: f64,
    /// In meters at first, then in the unit of the query.
    distance: f64,
    /// As how manyth it was found.
    place: usize,
}

/// What is equally far stays as it was found. Only the first `count` come to where they belong, and
/// the others go, unless it is 0.
fn sort(found: &mut Vec<Found>, order: Order, count: usize) {
    let compare = |left: &Found, right: &Found| {
        let farther = left.distance.total_cmp(&right.distance);
        let farther = if order == Order::Nearest { farther } else { farther.reverse() };
        farther.then(left.place.cmp(&right.place))
    };
    if count > 0 && count < found.len() {
        found.select_nth_unstable_by(count, compare);
        found.truncate(count);
    }
    found.sort_unstable_by(compare);
}

/// Runs a search for its answer, or for what is stored.
fn run(cx: &mut Ctx, mut args: Args, search: Search, reply: &mut Reply) -> Result {
    let target = (search.stores == Stores::Always).then(|| args.key());
    let limits = cx.limits().clone();
    let zset = cx.read::<Zset>(args.key())?;
    let query = Query::parse(args, search, zset, target)?;
    let found = zset.map_or(Vec::new(), |zset| query.find(zset));
    let Some(target) = query.target else {
        reply.array(found.len());
        found.iter().for_each(|found| query.write(found, reply));
        return Ok(());
    };
    let mut stored = Zset::new();
    let longest = found.iter().map(|found| found.member.len()).max();
    stored.expect(found.len(), longest.unwrap_or(0), &limits);
    for Found { member, score, distance, .. } in &found {
        let score = if query.stores_distance { distance } else { score };
        stored.insert(member, *score, &limits);
    }
    let is_search = search.start == Start::Options;
    let event = if is_search { "geosearchstore" } else { "georadiusstore" };
    super::zset::store(cx, target, stored, event, reply);
    Ok(())
}

fn georadius(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Position, stores: Stores::ByOption }, reply)
}

fn georadius_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Position, stores: Stores::Never }, reply)
}

fn georadiusbymember(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Member, stores: Stores::ByOption }, reply)
}

fn georadiusbymember_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Member, stores: Stores::Never }, reply)
}

fn geosearch(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Options, stores: Stores::Never }, reply)
}

fn geosearchstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Search { start: Start::Options, stores: Stores::Always }, reply)
}
