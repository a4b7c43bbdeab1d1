//! `user` and `password`, `token`, `nkey` and `creds`.

use sluicegate_nats::Credentials;

use super::{Values, keys};

impl Values<'_> {
    /// `None` without credentials, or if there is a problem.
    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let [user, password, token, nkey, creds] =
            [&keys::USER, &keys::PASSWORD, &keys::TOKEN, &keys::NKEY, &keys::CREDS].map(|key| key.name);
        let login = if self.has(user) { user } else { password };
        let mut given = [login, token, nkey, creds].into_iter().filter(|name| self.given.contains_key(*name));
        if let Some(first) = given.next() {
            for other in given {
                self.problem(other, format!("conflicts with `{first}`: set only one kind of credentials"));
            }
        }
        self.login(user, password)
            .or(self.secret(token).map(|token| Credentials::Token(token.to_owned())))
            .or(self.key(nkey, Credentials::nkey, NKEY))
            .or(self.key(creds, Credentials::creds, CREDS))
    }

    fn login(&mut self, user: &str, password: &str) -> Option<Credentials> {
        match (self.has(user), self.has(password)) {
            (true, false) => self.problem(password, format!("is required with `{user}`")),
            (false, true) => self.problem(user, format!("is required with `{password}`")),
            _ => {}
        }
        let (user, password) = (self.secret(user), self.secret(password));
        Some(Credentials::Password { user: user?.to_owned(), password: password?.to_owned() })
    }

    /// The error never shows the text.
    fn key(
        &mut self,
        name: &str,
        parse: fn(&str) -> Option<Credentials>,
        expected: &str,
    ) -> Option<Credentials> {
        let credentials = parse(self.secret(name)?);
        if credentials.is_none() {
            self.problem(name, expected);
        }
        credentials
    }
}

const NKEY: &str = "expected the seed of a user's NKey, which begins with SU";
const CREDS: &str = "expected the contents of a .creds file: set { file = \"…\" } to its path";
