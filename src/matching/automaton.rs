//! Expressions compiled into tables that read a path with one look-up per byte.
//!
//! ```text
//! expressions ── shared beginnings ──▶ tree ──▶ Nfa ── sets of states ──▶ Automaton
//! ```
//!
//! The tables are complete when the policy is loaded, so that no request can make them grow. What may be
//! compiled is decided by counting steps and entries, never by bytes of memory, whose number depends on the
//! machine: the command and the module accept the same expressions.
//!
//! # Why this is not `regex_automata::dfa::dense`
//!
//! That crate (0.4.18) can make such tables, but loading a policy would not be bounded. It makes the sets of
//! states without counting its work. It has two limits in bytes:
//!
//! * the size of the table, which is the same on all machines, but says little about the work: 100
//!   expressions such as `/.*a.*x1` took 5 seconds to reach 4 MiB. Here they are refused after 35 ms;
//! * the memory of the sets, which follows the work, but contains pointers: the same policy could load in the
//!   command (64 bits) and not in the module (32 bits).
//!
//! The product of the states before and after is a bound that is the same everywhere, but one that lets 1,000
//! ordinary expressions through also lets work of several seconds through: theirs is 86 million and takes
//! 14 ms, while that of 1,000 expressions such as `/.*/x1` is 21 million and takes 770 ms. Here those take
//! 2 ms, because they share their beginnings.

use std::collections::HashMap;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The most entries in the table of one automaton, of two bytes each.
const MOST_ENTRIES: usize = 1 << 20;

/// The most steps that compiling one automaton may take.
pub(super) const MOST_STEPS: u64 = 1 << 20;

/// The most states before sets are made of them.
const MOST_STATES: usize = 1 << 17;

/// The bytes that a normalised path may have, and a few more. No expression matches any other byte.
const FIRST_BYTE: u8 = b'!';
const LAST_BYTE: u8 = b'~';

/// The automaton's state from which no expression can match.
const DEAD: u16 = 0;
const START: u16 = 1;

/// What an automaton keeps of the expressions that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The first.
    First,
    /// All of them.
    All,
}

/// A table for several expressions, each of which must match a whole path.
#[derive(Clone, Debug)]
pub(super) struct Automaton {
    /// The column of each byte. The first column is for bytes that no path has.
    columns: [u8; 256],
    width: usize,
    /// The next state, by state and column.
    next: Box<[u16]>,
    /// For each state, where its list in `matches` ends.
    ends: Box<[u32]>,
    /// The expressions that match if the path ends in a state.
    matches: Box<[u16]>,
}

/// A step after which compiling goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooComplex;

// === impl Automaton ===

impl Automaton {
    /// The state after a path.
    pub(super) fn read(&self, path: &str) -> u16 {
        let mut state = START;
        for byte in path.bytes() {
            state = self.step(state, byte);
            if state == DEAD {
                break;
            }
        }
        state
    }

    /// The state after one more byte.
    pub(super) fn step(&self, state: u16, byte: u8) -> u16 {
        let column = self.columns.get(usize::from(byte)).copied().unwrap_or_default();
        let place = usize::from(state).wrapping_mul(self.width).wrapping_add(usize::from(column));
        self.next.get(place).copied().unwrap_or(DEAD)
    }

    /// The expressions that match a path that ends in this state, in order.
    pub(super) fn matches(&self, state: u16) -> &[u16] {
        let end = |state: usize| usize::try_from(self.ends.get(state).copied()?).ok();
        let start = usize::from(state).checked_sub(1).and_then(end).unwrap_or_default();
        let end = end(usize::from(state)).unwrap_or_default();
        self.matches.get(start..end).unwrap_or_default()
    }

    /// Compiles expressions. They are numbered from zero. Counts down `steps`, and fails at zero or if the
    /// table has too many entries.
    pub(super) fn compile<'h>(
        expressions: impl Iterator<Item = &'h Hir>,
        keep: Keep,
        steps: &mut u64,
    ) -> Result<Self, TooComplex> {
        let nfa = Nfa::of(expressions, steps)?;
        Determinizer::new(&nfa, keep).run(steps)
    }
}

fn spend(steps: &mut u64) -> Result<(), TooComplex> {
    *steps = steps.checked_sub(1).ok_or(TooComplex)?;
    Ok(())
}

/// A state of an [`Nfa`], by its place in the list.
type Place = u32;

/// An automaton that may be in several states at once (Thompson's construction).
struct Nfa {
    states: Vec<State>,
    start: Place,
}

enum State {
    /// One byte in this range leads to the other state.
    Range(u8, u8, Place),
    /// Each of these states is reached without reading anything.
    Any(Vec<Place>),
    /// The other state is reached where this holds.
    Look(Look, Place),
    /// The expression of this number matches.
    Match(u16),
}

/// Part of an expression: a byte of a literal, or anything else.
#[derive(PartialEq)]
enum Part<'h> {
    Byte(u8),
    Other(&'h Hir),
}

/// A tree of expressions: those that begin with the same parts share them.
#[derive(Default)]
struct Node<'h> {
    children: Vec<(Part<'h>, usize)>,
    matches: Vec<u16>,
}

// === impl Nfa ===

impl Nfa {
    fn of<'h>(expressions: impl Iterator<Item = &'h Hir>, steps: &mut u64) -> Result<Self, TooComplex> {
        let tree = tree(expressions, steps)?;
        let mut nfa = Self { states: Vec::new(), start: 0 };
        let mut entries: Vec<Place> = vec![0; tree.len()];
        // A child comes after its parent, so its entry is known first.
        for (index, node) in tree.iter().enumerate().rev() {
            let mut ways = Vec::with_capacity(node.matches.len().saturating_add(node.children.len()));
            for expression in &node.matches {
                ways.push(nfa.add(State::Match(*expression), steps)?);
            }
            for (part, child) in &node.children {
                let then = entries.get(*child).copied().unwrap_or_default();
                ways.push(match part {
                    Part::Byte(byte) => nfa.add(State::Range(*byte, *byte, then), steps)?,
                    Part::Other(hir) => nfa.add_expression(hir, then, steps)?,
                });
            }
            let entry = nfa.add(State::Any(ways), steps)?;
            if let Some(place) = entries.get_mut(index) {
                *place = entry;
            }
        }
        nfa.start = entries.first().copied().unwrap_or_default();
        Ok(nfa)
    }

    fn add(&mut self, state: State, steps: &mut u64) -> Result<Place, TooComplex> {
        spend(steps)?;
        let place = Place::try_from(self.states.len()).map_err(|_| TooComplex)?;
        if self.states.len() >= MOST_STATES {
            return Err(TooComplex);
        }
        self.states.push(state);
        Ok(place)
    }

    /// Adds the states of an expression, of which the last leads to `then`. Returns the first.
    fn add_expression(&mut self, hir: &Hir, then: Place, steps: &mut u64) -> Result<Place, TooComplex> {
        spend(steps)?;
        match hir.kind() {
            HirKind::Empty => Ok(then),
            HirKind::Literal(literal) => {
                let mut then = then;
                for byte in literal.0.iter().rev() {
                    then = self.add(State::Range(*byte, *byte, then), steps)?;
                }
                Ok(then)
            }
            HirKind::Class(class) => {
                let mut ways = Vec::new();
                for (first, last) in ranges(class) {
                    ways.push(self.add(State::Range(first, last, then), steps)?);
                }
                self.add(State::Any(ways), steps)
            }
            HirKind::Look(look) => self.add(State::Look(*look, then), steps),
            HirKind::Capture(capture) => self.add_expression(&capture.sub, then, steps),
            HirKind::Concat(parts) => {
                let mut then = then;
                for part in parts.iter().rev() {
                    then = self.add_expression(part, then, steps)?;
                }
                Ok(then)
            }
            HirKind::Alternation(alternatives) => {
                let mut ways = Vec::with_capacity(alternatives.len());
                for alternative in alternatives {
                    ways.push(self.add_expression(alternative, then, steps)?);
                }
                self.add(State::Any(ways), steps)
            }
            HirKind::Repetition(repetition) => {
                let mut entry = then;
                match repetition.max {
                    Some(max) => {
                        for _ in repetition.min..max {
                            let once = self.add_expression(&repetition.sub, entry, steps)?;
                            entry = self.add(State::Any(vec![once, then]), steps)?;
                        }
                    }
                    None => {
                        entry = self.add(State::Any(vec![then]), steps)?;
                        let again = self.add_expression(&repetition.sub, entry, steps)?;
                        let place = usize::try_from(entry).map_err(|_| TooComplex)?;
                        if let Some(State::Any(ways)) = self.states.get_mut(place) {
                            ways.push(again);
                        }
                    }
                }
                for _ in 0..repetition.min {
                    entry = self.add_expression(&repetition.sub, entry, steps)?;
                }
                Ok(entry)
            }
        }
    }

    fn get(&self, place: Place) -> Option<&State> {
        self.states.get(usize::try_from(place).ok()?)
    }
}

fn tree<'h>(
    expressions: impl Iterator<Item = &'h Hir>,
    steps: &mut u64,
) -> Result<Vec<Node<'h>>, TooComplex> {
    let mut tree = vec![Node::default()];
    for (index, hir) in expressions.enumerate() {
        let mut place = 0;
        for part in parts(hir) {
            spend(steps)?;
            let end = tree.len();
            let node = tree.get_mut(place).ok_or(TooComplex)?;
            let known = node.children.iter().find(|(other, _)| *other == part).map(|(_, child)| *child);
            place = known.unwrap_or(end);
            if known.is_none() {
                node.children.push((part, end));
                tree.push(Node::default());
            }
        }
        let expression = u16::try_from(index).map_err(|_| TooComplex)?;
        tree.get_mut(place).ok_or(TooComplex)?.matches.push(expression);
    }
    Ok(tree)
}

/// The parts of an expression, one after the other.
fn parts(hir: &Hir) -> Vec<Part<'_>> {
    let of = |hir: &'_ Hir| match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().map(|byte| Part::Byte(*byte)).collect(),
        _ => Vec::new(),
    };
    let mut parts = Vec::new();
    let list = match hir.kind() {
        HirKind::Concat(list) => list.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    for hir in list {
        let bytes: Vec<Part<'_>> = of(hir);
        if bytes.is_empty() {
            parts.push(Part::Other(hir));
        }
        parts.extend(bytes);
    }
    parts
}

/// The ranges of a class, as far as they are bytes. Classes of characters occur only with Unicode.
fn ranges(class: &Class) -> Vec<(u8, u8)> {
    match class {
        Class::Bytes(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Unicode(class) => {
            let byte = |c: char| u8::try_from(c).unwrap_or(u8::MAX);
            class.iter().map(|range| (byte(range.start()), byte(range.end()))).collect()
        }
    }
}

/// What is on one side of a place in a path, as far as an expression can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    /// The beginning, or the end.
    Edge,
    /// A letter, a digit, or `_`.
    Word,
    /// Any other byte.
    Other,
}

impl Side {
    fn of(byte: u8) -> Self {
        if byte.is_ascii_alphanumeric() || byte == b'_' { Self::Word } else { Self::Other }
    }
}

/// Whether an assertion holds between two sides. Paths have no line breaks.
fn holds(look: Look, before: Side, after: Side) -> bool {
    let (word_before, word_after) = (before == Side::Word, after == Side::Word);
    match look {
        Look::Start | Look::StartLF | Look::StartCRLF => before == Side::Edge,
        Look::End | Look::EndLF | Look::EndCRLF => after == Side::Edge,
        Look::WordAscii | Look::WordUnicode => word_before != word_after,
        Look::WordAsciiNegate | Look::WordUnicodeNegate => word_before == word_after,
        Look::WordStartAscii | Look::WordStartUnicode => !word_before && word_after,
        Look::WordEndAscii | Look::WordEndUnicode => word_before && !word_after,
        Look::WordStartHalfAscii | Look::WordStartHalfUnicode => !word_before,
        Look::WordEndHalfAscii | Look::WordEndHalfUnicode => !word_after,
    }
}

/// Turns an [`Nfa`] into an [`Automaton`] whose states are sets of its states (subset construction). Such a
/// set is kept as it was reached: what follows without reading anything may depend on the next byte.
struct Determinizer<'n> {
    nfa: &'n Nfa,
    keep: Keep,
    /// Whether expressions look at words, so that sets differ by the byte before them.
    has_words: bool,
    columns: [u8; 256],
    /// A byte of each column but the first.
    samples: Vec<u8>,
    sets: Vec<Set>,
    known: HashMap<Set, u16>,
    /// The round in which each state of the Nfa was last visited.
    visited: Vec<u32>,
    round: u32,
}

type Set = std::rc::Rc<(Side, Vec<Place>)>;

impl<'n> Determinizer<'n> {
    fn new(nfa: &'n Nfa, keep: Keep) -> Self {
        let mut has_words = false;
        let mut begins = [false; 256];
        let mut begin = |byte: u8| {
            if let Some(begins) = begins.get_mut(usize::from(byte)) {
                *begins = true;
            }
        };
        begin(FIRST_BYTE);
        for state in &nfa.states {
            match state {
                State::Range(first, last, _) => {
                    begin(*first);
                    begin(last.saturating_add(1));
                }
                State::Look(look, _) => {
                    has_words |= !matches!(
                        look,
                        Look::Start
                            | Look::StartLF
                            | Look::StartCRLF
                            | Look::End
                            | Look::EndLF
                            | Look::EndCRLF
                    );
                }
                State::Any(_) | State::Match(_) => {}
            }
        }
        if has_words {
            for (first, last) in [(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')] {
                begin(first);
                begin(last.saturating_add(1));
            }
        }
        let mut columns = [0; 256];
        let mut samples = Vec::new();
        for byte in FIRST_BYTE..=LAST_BYTE {
            if begins.get(usize::from(byte)) == Some(&true) {
                samples.push(byte);
            }
            if let Some(column) = columns.get_mut(usize::from(byte)) {
                *column = u8::try_from(samples.len()).unwrap_or_default();
            }
        }
        let visited = vec![0; nfa.states.len()];
        let (sets, known) = (Vec::new(), HashMap::new());
        Self { nfa, keep, has_words, columns, samples, sets, known, visited, round: 0 }
    }

    fn run(mut self, steps: &mut u64) -> Result<Automaton, TooComplex> {
        let width = self.samples.len().saturating_add(1);
        self.state(Side::Edge, Vec::new())?;
        self.state(Side::Edge, vec![self.nfa.start])?;
        let mut next = vec![DEAD; width];
        let (mut ends, mut matches) = (vec![0], Vec::new());
        let mut reached: Vec<Vec<Place>> = vec![Vec::new(); width];
        let (mut ranges, mut found) = (Vec::new(), Vec::new());
        let mut done = usize::from(START);
        while let Some(set) = self.sets.get(done).cloned() {
            let (before, places) = &*set;
            self.follow(places, *before, Side::Edge, &mut ranges, &mut found, steps)?;
            found.sort_unstable();
            found.truncate(if self.keep == Keep::First { 1 } else { found.len() });
            matches.append(&mut found);
            ends.push(u32::try_from(matches.len()).map_err(|_| TooComplex)?);
            let sides: &[Side] = if self.has_words { &[Side::Word, Side::Other] } else { &[Side::Other] };
            for after in sides {
                self.follow(places, *before, *after, &mut ranges, &mut found, steps)?;
                for (first, last, to) in &ranges {
                    for column in self.columns_of(*first, *last) {
                        let is_meant = !self.has_words
                            || self.samples.get(column.wrapping_sub(1)).map(|byte| Side::of(*byte))
                                == Some(*after);
                        if let Some(reached) = reached.get_mut(column).filter(|_| is_meant) {
                            spend(steps)?;
                            reached.push(*to);
                        }
                    }
                }
            }
            let row = next.len();
            let end = row.saturating_add(width);
            if end > MOST_ENTRIES || matches.len() > MOST_ENTRIES {
                return Err(TooComplex);
            }
            *steps = steps.checked_sub(u64::try_from(width).unwrap_or_default()).ok_or(TooComplex)?;
            next.resize(end, DEAD);
            for (column, places) in reached.iter_mut().enumerate().filter(|(_, places)| !places.is_empty()) {
                let mut places = std::mem::take(places);
                places.sort_unstable();
                places.dedup();
                let side = match self.samples.get(column.wrapping_sub(1)) {
                    Some(byte) if self.has_words => Side::of(*byte),
                    _ => Side::Other,
                };
                let to = self.state(side, places)?;
                if let Some(entry) = next.get_mut(row.saturating_add(column)) {
                    *entry = to;
                }
            }
            done = done.saturating_add(1);
        }
        Ok(Automaton {
            columns: self.columns,
            width,
            next: next.into(),
            ends: ends.into(),
            matches: matches.into(),
        })
    }

    /// The number of a set, which is new or known.
    fn state(&mut self, before: Side, places: Vec<Place>) -> Result<u16, TooComplex> {
        let set = Set::new((before, places));
        if let Some(known) = self.known.get(&set) {
            return Ok(*known);
        }
        let number = u16::try_from(self.sets.len()).map_err(|_| TooComplex)?;
        self.sets.push(Set::clone(&set));
        self.known.insert(set, number);
        Ok(number)
    }

    /// The columns that a range of bytes covers.
    fn columns_of(&self, first: u8, last: u8) -> std::ops::RangeInclusive<usize> {
        let (first, last) = (first.max(FIRST_BYTE), last.min(LAST_BYTE));
        let column = |byte: u8| self.columns.get(usize::from(byte)).copied().map_or(0, usize::from);
        // An empty range, because no path has these bytes.
        if first > last { std::ops::RangeInclusive::new(1, 0) } else { column(first)..=column(last) }
    }

    /// Collects what is reached from `places` without reading anything: bytes that lead on, and expressions
    /// that match.
    fn follow(
        &mut self,
        places: &[Place],
        before: Side,
        after: Side,
        ranges: &mut Vec<(u8, u8, Place)>,
        found: &mut Vec<u16>,
        steps: &mut u64,
    ) -> Result<(), TooComplex> {
        ranges.clear();
        found.clear();
        self.round = self.round.checked_add(1).ok_or(TooComplex)?;
        let mut waiting = places.to_vec();
        while let Some(place) = waiting.pop() {
            let index = usize::try_from(place).map_err(|_| TooComplex)?;
            let Some(visited) = self.visited.get_mut(index).filter(|visited| **visited != self.round) else {
                continue;
            };
            *visited = self.round;
            spend(steps)?;
            match self.nfa.get(place) {
                Some(State::Range(first, last, to)) => ranges.push((*first, *last, *to)),
                Some(State::Any(ways)) => waiting.extend_from_slice(ways),
                Some(State::Look(look, to)) if holds(*look, before, after) => waiting.push(*to),
                Some(State::Match(expression)) => found.push(*expression),
                Some(State::Look(..)) | None => {}
            }
        }
        Ok(())
    }
}
