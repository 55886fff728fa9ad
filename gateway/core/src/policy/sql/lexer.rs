//! Cuts SQL into tokens. In: a text, its dialect. Out: the only tokens that the parser sees. Never here: grammar.
//!
//! The parser's own tokenizer reads what one server reads. Here every token has the same extent for every server of the dialect, whatever its settings
//! (`standard_conforming_strings`, `ANSI_QUOTES`, `NO_BACKSLASH_ESCAPES`) and its connection's character set; anything else is refused.

use sqlparser::tokenizer::Token;

use super::{Dialect, OPERATORS_MAX, SQL_BYTES_MAX, SqlRefusal, TOKENS_MAX};

/// The tokens of `text`, without white space and comments.
pub(super) fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token>, SqlRefusal> {
    if text.len() > SQL_BYTES_MAX {
        return Err(SqlRefusal::TooLong);
    }
    let mut lexer = Lexer { rest: text, before: None, dialect };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut operators = 0;
    while lexer.skip()? {
        let (token, weight) = lexer.token()?;
        operators += weight;
        if tokens.len() >= TOKENS_MAX || operators > OPERATORS_MAX {
            return Err(SqlRefusal::TooLong);
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'t> {
    rest: &'t str,
    /// The character directly before `rest`.
    before: Option<char>,
    dialect: Dialect,
}

impl<'t> Lexer<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes `bytes` bytes, which end at a character.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.before = taken.chars().next_back().or(self.before);
        self.rest = rest;
        taken
    }

    /// Takes as long as `wanted` holds.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Over white space and comments; whether anything is left.
    fn skip(&mut self) -> Result<bool, SqlRefusal> {
        loop {
            match self.peek() {
                None => return Ok(false),
                Some(' ' | '\t' | '\n') => self.take(1),
                // A lone CR ends a line comment for some servers and not for others.
                Some('\r') if self.rest.starts_with("\r\n") => self.take(2),
                Some('-') if self.rest.starts_with("--") => self.line_comment()?,
                Some('/') if self.rest.starts_with("/*") => self.block_comment()?,
                Some(_) => return Ok(true),
            };
        }
    }

    fn line_comment(&mut self) -> Result<&'t str, SqlRefusal> {
        let comment = self.take_while(|letter| letter != '\n');
        // For MySQL `--` begins a comment only before white space, otherwise it is twice a minus.
        let blank = comment.get(2..).is_none_or(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']));
        let everywhere = match self.dialect {
            Dialect::Postgres | Dialect::Sqlite => true,
            Dialect::MySql | Dialect::Generic => blank,
        };
        let comment = comment.strip_suffix('\r').filter(|_| self.peek().is_some()).unwrap_or(comment);
        if everywhere && readable(comment) { Ok(comment) } else { Err(SqlRefusal::Comment) }
    }

    /// Some servers nest block comments, some run what is in `/*! */` and obey `/*+ */`, one takes an open end.
    fn block_comment(&mut self) -> Result<&'t str, SqlRefusal> {
        let length = self.rest.get(2..).and_then(|rest| rest.find("*/")).ok_or(SqlRefusal::Comment)?;
        let inside = self.rest.get(2..2 + length).unwrap_or_default();
        let obeyed =
            inside.starts_with(['!', '+', '/', 'M', 'm']) && !inside.starts_with("M ") && !inside.starts_with("m ");
        // A comment stands for a space; a reader that drops it would join what it parts.
        let joining = self.before.is_some_and(is_word)
            && self.rest.get(length + 4..).is_some_and(|rest| rest.starts_with(is_word));
        let plain = inside.replace("\r\n", "\n");
        if obeyed || joining || inside.contains("/*") || inside.ends_with('/') || !readable(&plain.replace('\n', " ")) {
            return Err(SqlRefusal::Comment);
        }
        Ok(self.take(length + 4))
    }

    /// The next token, and whether it is one that nests.
    fn token(&mut self) -> Result<(Token, usize), SqlRefusal> {
        let letter = self.peek().ok_or(SqlRefusal::Character)?;
        match letter {
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.word()),
            '0'..='9' => Ok((self.number()?, 0)),
            '\'' => Ok((self.string()?, 0)),
            '"' | '`' => Ok((self.quoted_name(letter)?, 0)),
            '(' => self.single(Token::LParen),
            ')' => self.single(Token::RParen),
            ',' => self.single(Token::Comma),
            ';' => self.single(Token::SemiColon),
            '.' => self.period(),
            '[' if self.dialect == Dialect::Postgres => self.single(Token::LBracket).map(|(token, _)| (token, 1)),
            ']' if self.dialect == Dialect::Postgres => self.single(Token::RBracket),
            _ => Ok((self.operator()?, 1)),
        }
    }

    fn single(&mut self, token: Token) -> Result<(Token, usize), SqlRefusal> {
        self.take(1);
        Ok((token, 0))
    }

    /// `.5` is a number for some and a field for others.
    fn period(&mut self) -> Result<(Token, usize), SqlRefusal> {
        self.take(1);
        if self.peek().is_some_and(|next| next.is_ascii_digit()) {
            Err(SqlRefusal::Literal)
        } else {
            Ok((Token::Period, 0))
        }
    }

    fn word(&mut self) -> (Token, usize) {
        let word = self.take_while(is_word);
        // Words that chain what stands on either side of them, and so nest to the left.
        let chaining = [
            "and",
            "or",
            "xor",
            "not",
            "is",
            "isnull",
            "notnull",
            "between",
            "like",
            "ilike",
            "union",
            "except",
            "intersect",
            "in",
            "collate",
            "at",
            "div",
            "glob",
        ];
        let weight = usize::from(chaining.iter().any(|chain| word.eq_ignore_ascii_case(chain)));
        (Token::make_word(word, None), weight)
    }

    /// `12`, `1.5`, `1.5e-3`, `0x1f`. A letter directly after a number belongs to it for some servers and begins a name for others.
    fn number(&mut self) -> Result<Token, SqlRefusal> {
        let rest = self.rest;
        let token = if let Some(hex) = rest.strip_prefix("0x") {
            let digits = hex.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(hex.len());
            if digits == 0 {
                return Err(SqlRefusal::Literal);
            }
            self.take(2);
            Token::HexStringLiteral(self.take(digits).to_owned())
        } else {
            let digits = |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
            let mut end = digits(rest);
            if let Some(fraction) = rest.get(end..).and_then(|rest| rest.strip_prefix('.')) {
                let length = digits(fraction);
                if length == 0 {
                    return Err(SqlRefusal::Literal);
                }
                end += 1 + length;
            }
            if let Some(exponent) = rest.get(end..).and_then(|rest| rest.strip_prefix(['e', 'E'])) {
                let signed = exponent.strip_prefix(['+', '-']);
                let length = digits(signed.unwrap_or(exponent));
                if length == 0 {
                    return Err(SqlRefusal::Literal);
                }
                end += 1 + usize::from(signed.is_some()) + length;
            }
            Token::Number(self.take(end).to_owned(), false)
        };
        match self.peek() {
            Some(next) if is_word(next) || !next.is_ascii() || matches!(next, '.' | '\'' | '"' | '`' | '$') => {
                Err(SqlRefusal::Literal)
            }
            Some(_) | None => Ok(token),
        }
    }

    /// `'it''s'`. A quote after a backslash ends the string for some and not for others; everything else in it has no say in where it ends.
    fn string(&mut self) -> Result<Token, SqlRefusal> {
        self.unprefixed()?;
        let mut value = String::new();
        self.take(1);
        loop {
            let part = self.take_while(|letter| letter != '\'' && letter != '\0');
            value.push_str(part);
            if part.ends_with('\\') || !self.rest.starts_with('\'') {
                return Err(SqlRefusal::Literal);
            }
            self.take(1);
            if !self.rest.starts_with('\'') {
                return Ok(Token::SingleQuotedString(value));
            }
            value.push('\'');
            self.take(1);
        }
    }

    /// `"Name"` where it is a name for every server of the dialect, and `` `name` `` likewise; with nothing in it that would need an escape.
    fn quoted_name(&mut self, quote: char) -> Result<Token, SqlRefusal> {
        let named = match (self.dialect, quote) {
            (Dialect::Postgres | Dialect::Sqlite, '"') | (Dialect::MySql | Dialect::Sqlite, '`') => true,
            (Dialect::Postgres | Dialect::MySql | Dialect::Sqlite | Dialect::Generic, _) => false,
        };
        if !named {
            return Err(SqlRefusal::Literal);
        }
        self.unprefixed()?;
        self.take(1);
        let name = self.take_while(|letter| (' '..='~').contains(&letter) && !matches!(letter, '"' | '`' | '\\'));
        let closed = self.rest.starts_with(quote);
        self.take(1);
        let again = self.peek().is_some_and(|next| is_word(next) || matches!(next, '"' | '`' | '\''));
        if name.is_empty() || !closed || again {
            Err(SqlRefusal::Literal)
        } else {
            Ok(Token::make_word(name, Some(quote)))
        }
    }

    /// `E'…'`, `N'…'`, `_utf8'…'`, `U&'…'`: a prefix changes what a quote means.
    fn unprefixed(&self) -> Result<(), SqlRefusal> {
        let prefixed = self.before.is_some_and(|before| {
            is_word(before) || !before.is_ascii() || matches!(before, '&' | '@' | '$' | '\'' | '"' | '`')
        });
        if prefixed { Err(SqlRefusal::Literal) } else { Ok(()) }
    }

    /// Operators are cut at their longest, and a run of operator characters must be one operator, or one and a sign.
    fn operator(&mut self) -> Result<Token, SqlRefusal> {
        let end = self.rest.find(|letter: char| !"+-*/%=<>!|&~^#@?:".contains(letter)).unwrap_or(self.rest.len());
        // A comment ends the run.
        let run = self.rest.get(..end).unwrap_or_default();
        let run = ["--", "/*"]
            .iter()
            .filter_map(|mark| run.find(mark))
            .min()
            .map_or(run, |end| run.get(..end).unwrap_or_default());
        if let Some(token) = operator(run, self.dialect) {
            self.take(run.len());
            return Ok(token);
        }
        let signed = run
            .strip_suffix(['-', '+'])
            .filter(|first| ["=", "<", ">", "<=", ">=", "<>", "*", "/", "+", "-"].contains(first));
        let token = signed.and_then(|first| Some((first.len(), operator(first, self.dialect)?)));
        let (length, token) = token.ok_or(SqlRefusal::Character)?;
        self.take(length);
        Ok(token)
    }
}

fn operator(run: &str, dialect: Dialect) -> Option<Token> {
    use Dialect::{MySql, Postgres, Sqlite};
    Some(match (run, dialect) {
        ("=", _) => Token::Eq,
        ("<", _) => Token::Lt,
        (">", _) => Token::Gt,
        ("<=", _) => Token::LtEq,
        (">=", _) => Token::GtEq,
        ("<>" | "!=", _) => Token::Neq,
        ("+", _) => Token::Plus,
        ("-", _) => Token::Minus,
        ("*", _) => Token::Mul,
        ("/", _) => Token::Div,
        ("%", _) => Token::Mod,
        ("||", _) => Token::StringConcat,
        ("&", Postgres | MySql | Sqlite) => Token::Ampersand,
        ("|", Postgres | MySql | Sqlite) => Token::Pipe,
        ("<<", Postgres | MySql | Sqlite) => Token::ShiftLeft,
        (">>", Postgres | MySql | Sqlite) => Token::ShiftRight,
        ("~", Postgres | MySql | Sqlite) => Token::Tilde,
        ("^", Postgres | MySql) => Token::Caret,
        ("->", Postgres | MySql | Sqlite) => Token::Arrow,
        ("->>", Postgres | MySql | Sqlite) => Token::LongArrow,
        ("<=>", MySql) => Token::Spaceship,
        ("==", Sqlite) => Token::DoubleEq,
        ("::", Postgres) => Token::DoubleColon,
        ("#>", Postgres) => Token::HashArrow,
        ("#>>", Postgres) => Token::HashLongArrow,
        ("@>", Postgres) => Token::AtArrow,
        ("<@", Postgres) => Token::ArrowAt,
        ("&&", Postgres) => Token::Overlap,
        ("=>", Postgres) => Token::RArrow,
        ("~*", Postgres) => Token::TildeAsterisk,
        ("!~", Postgres) => Token::ExclamationMarkTilde,
        ("!~*", Postgres) => Token::ExclamationMarkTildeAsterisk,
        (_, _) => return None,
    })
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Text that ends where it seems to end: no control characters but tabs.
fn readable(text: &str) -> bool {
    !text.chars().any(|letter| letter != '\t' && letter.is_control())
}
