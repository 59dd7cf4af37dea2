//! A command's syntax, as its row in the table tells it, and requests that follow it.

use super::values::{self, Pool};
use toril::util::rng::Rng;

/// A piece of a syntax.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `WITHSCORES`, `*`: stands as it is.
    Token(String),
    /// `score`: a word of that kind.
    Value(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    /// `[member ...]`: any number of times.
    Repeated(Box<Node>),
}

/// A word of a request, and what it stands for: empty for a token.
#[derive(Clone)]
pub struct Made {
    pub kind: String,
    pub text: Vec<u8>,
}

impl Node {
    /// Reads what a row says behind its name.
    pub fn parse(syntax: &str) -> Node {
        let spaced: String = syntax
            .chars()
            .flat_map(|letter| match letter {
                '[' | ']' | '<' | '>' => vec![' ', letter, ' '],
                letter => vec![letter],
            })
            .collect();
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        let node = parse_choice(&words, &mut at);
        assert_eq!(at, words.len(), "{syntax}");
        node
    }

    /// The same syntax without what has one of these tokens.
    pub fn without(self, tokens: &[&str]) -> Option<Node> {
        let all = |nodes: Vec<Node>| {
            nodes.into_iter().map(|node| node.without(tokens)).collect::<Option<Vec<_>>>()
        };
        let boxed = |node: Box<Node>| node.without(tokens).map(Box::new);
        match self {
            Node::Token(text) if tokens.contains(&&*text) => None,
            Node::Sequence(nodes) => all(nodes).map(Node::Sequence),
            Node::Choice(nodes) => {
                let left: Vec<Node> =
                    nodes.into_iter().filter_map(|node| node.without(tokens)).collect();
                (!left.is_empty()).then_some(Node::Choice(left))
            }
            Node::Optional(node) => {
                Some(boxed(node).map_or(Node::Sequence(Vec::new()), Node::Optional))
            }
            Node::Repeated(node) => boxed(node).map(Node::Repeated),
            node => Some(node),
        }
    }

    /// Appends the words of a request.
    pub fn make(&self, pool: &Pool, rng: &mut Rng, out: &mut Vec<Made>) {
        match self {
            Node::Token(text) => {
                out.push(Made { kind: String::new(), text: text.as_bytes().to_vec() });
            }
            Node::Value(kind) => {
                out.push(Made { kind: kind.clone(), text: values::make(kind, pool, rng) });
            }
            Node::Sequence(nodes) => nodes.iter().for_each(|node| node.make(pool, rng, out)),
            Node::Choice(nodes) => nodes[rng.below(nodes.len())].make(pool, rng, out),
            Node::Optional(node) => {
                if rng.below(3) == 0 {
                    node.make(pool, rng, out);
                }
            }
            Node::Repeated(node) => {
                let count = [0, 0, 1, 1, 2, 3, 8][rng.below(7)];
                (0..count).for_each(|_| node.make(pool, rng, out));
            }
        }
    }
}

/// Up to the bracket that closes, or the end: sequences between bars that stand alone.
fn parse_choice(words: &[&str], at: &mut usize) -> Node {
    let mut choices = vec![Vec::new()];
    let mut is_repeated = false;
    while *at < words.len() {
        let word = words[*at];
        *at += 1;
        let node = match word {
            "]" | ">" => {
                *at -= 1;
                break;
            }
            "|" => {
                choices.push(Vec::new());
                continue;
            }
            "..." => {
                is_repeated = true;
                continue;
            }
            "[" | "<" => {
                let inner = parse_choice(words, at);
                *at += 1;
                match (word, inner) {
                    ("[", inner @ Node::Repeated(_)) | ("<", inner) => inner,
                    (_, inner) => Node::Optional(Box::new(inner)),
                }
            }
            word => tight_choice(word),
        };
        choices.last_mut().expect("there is one").push(node);
    }
    let mut choices: Vec<Node> = choices.into_iter().map(Node::Sequence).collect();
    let node = if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) };
    if is_repeated { Node::Repeated(Box::new(node)) } else { node }
}

/// `LEFT|RIGHT`.
fn tight_choice(word: &str) -> Node {
    let leaf = |word: &str| match word.chars().any(|letter| letter.is_ascii_lowercase()) {
        true => Node::Value(word.to_owned()),
        false => Node::Token(word.to_owned()),
    };
    let mut choices: Vec<Node> = word.split('|').map(leaf).collect();
    if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) }
}

/// What the syntax does not say: BYLEX is for members of one score, a number tells how many keys or
/// fields follow, each key has its weight, each stream its id. One request of ten stays wrong.
pub fn agree(words: &mut Vec<Made>, pool: &Pool, rng: &mut Rng) {
    if pool.prefix != values::SAME_SCORES {
        let by_lex = words.iter_mut().find(|made| made.kind.is_empty() && made.text == b"BYLEX");
        by_lex.into_iter().for_each(|made| made.text = b"BYSCORE".to_vec());
    }
    if rng.below(10) == 0 {
        return;
    }
    let is_key = |made: &Made| made.kind == "key";
    let mut keys = words.iter().filter(|made| is_key(made)).count();
    if let Some(at) = words.iter().position(|made| made.kind == "numkeys") {
        keys = words[at + 1..].iter().take_while(|made| is_key(made)).count();
        words[at].text = keys.to_string().into_bytes();
    }
    if let Some(at) = words.iter().position(|made| made.kind == "numfields") {
        words[at].text = (words.len() - at - 1).to_string().into_bytes();
    }
    let is_streams = words.iter().any(|made| made.text == b"STREAMS");
    let paired = if is_streams { "id" } else { "weight" };
    let Some(first) = words.iter().position(|made| made.kind == paired) else { return };
    let end = first + words[first..].iter().take_while(|made| made.kind == paired).count();
    if keys < end - first {
        words.drain(first + keys.max(1)..end);
    }
    for _ in end - first..keys {
        let text = words[first].text.clone();
        words.insert(first, Made { kind: paired.to_owned(), text });
    }
}
