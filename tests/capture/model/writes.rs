//! The statements that writers run, by chance.

use super::dice::Dice;

/// Something that a session runs.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) sql: String,
    /// The object types whose tables it truncates.
    pub(super) truncates: &'static [&'static str],
}

/// Makes statements; knows which names are new.
pub(super) struct Writes {
    uids: usize,
    ids: usize,
    /// Whether `parts_as` is a partition.
    pub(super) is_attached: bool,
    /// Whether tables are truncated, too.
    truncates: bool,
}

impl Writes {
    pub(super) fn new(truncates: bool) -> Self {
        Self {
            uids: 0,
            ids: 1_000,
            is_attached: true,
            truncates,
        }
    }

    /// The next statements; often one.
    pub(super) fn next(&mut self, dice: &mut Dice) -> Vec<Write> {
        if self.truncates && dice.percent(4) {
            return vec![self.truncate(dice)];
        }
        let sql = match dice.below(22) {
            0..=5 => self.item(dice),
            6..=10 => self.part(dice),
            11..=13 => self.base(dice),
            14..=17 => self.family(dice),
            18..=19 => self.mixed(dice),
            _ => self.several(dice),
        };
        let write = |sql| Write {
            sql,
            truncates: &[],
        };
        sql.into_iter().map(write).collect()
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("u{}", self.uids)
    }

    /// An id that no row had before.
    fn new_id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    fn item_values(&mut self, dice: &mut Dice) -> String {
        let first = dice.below(5);
        let count = 1 + dice.below(3);
        let values: Vec<String> = (0..count)
            .map(|n| {
                let (b, v) = (dice.pick(&["x", "y"]), dice.below(4));
                format!("({}, '{b}', {v}, '{}')", first + n, self.uid())
            })
            .collect();
        values.join(", ")
    }

    fn item(&mut self, dice: &mut Dice) -> Vec<String> {
        let (a, b) = (dice.below(6), dice.pick(&["x", "y"]));
        let one = format!("a = {a} and b = '{b}'");
        let some = dice.pick(&[
            one.clone(),
            format!("a = {a}"),
            format!("v % 2 = {}", a % 2),
        ]);
        vec![match dice.below(12) {
            0 => format!("insert into items values {}", self.item_values(dice)),
            1 => format!(
                "insert into items values {} on conflict do nothing",
                self.item_values(dice)
            ),
            2 | 3 => format!(
                "insert into items values {} on conflict (a, b) do update set v = excluded.v",
                self.item_values(dice)
            ),
            4 => format!("update items set v = v + 1 where {some}"),
            5 => format!("update items set v = v where {some}"),
            6 => format!("delete from items where {some}"),
            7 => {
                let to = dice.below(6);
                format!("update items set a = {to}, v = v + {} where {one}", to % 2)
            }
            8 => {
                return swap(
                    "items",
                    "a",
                    &one,
                    a,
                    dice.below(6),
                    &format!("and b = '{b}'"),
                );
            }
            9 => format!(
                "merge into items t using (values {}) as s (a, b, v, uid) \
                     on t.a = s.a and t.b = s.b \
                 when matched and t.v > 2 then delete \
                 when matched then update set v = s.v \
                 when not matched then insert values (s.a, s.b, s.v, s.uid)",
                self.item_values(dice)
            ),
            10 => {
                let uid = self.uid();
                format!(r#"copy items from program 'printf "{a}\t{b}\t0\t{uid}\n"'"#)
            }
            _ => format!(
                "with gone as (delete from items where {one} returning v) \
                 insert into items select 9, 'cte', max(v), '{}' from gone having count(*) > 0 \
                 on conflict (a, b) do update set v = items.v + 1",
                self.uid()
            ),
        }]
    }

    fn part(&mut self, dice: &mut Dice) -> Vec<String> {
        let (region, day) = (dice.pick(&["eu", "us", "as"]), dice.below(20));
        let some = dice.pick(&[
            format!("id % 3 = {}", day % 3),
            format!("region = '{region}'"),
            format!("day < {day}"),
        ]);
        let leaf = match region {
            "us" => "parts_us",
            "as" => "parts_as",
            _ if day < 10 => "parts_eu_1",
            _ => "parts_eu_2",
        };
        vec![match dice.below(11) {
            0 | 1 => {
                let rows: Vec<String> = (0..=dice.below(3))
                    .map(|n| {
                        let (id, uid) = (self.new_id(), self.uid());
                        format!("({id}, '{region}', {}, 0, '{uid}')", (day + 7 * n) % 20)
                    })
                    .collect();
                format!("insert into parts values {}", rows.join(", "))
            }
            2 => {
                let (id, uid) = (self.new_id(), self.uid());
                format!(
                    "insert into {leaf} (id, region, day, v, uid) \
                     values ({id}, '{region}', {day}, 1, '{uid}')"
                )
            }
            3 => format!("update {leaf} set v = v + 1 where id % 2 = {}", day % 2),
            4 => format!("update parts set v = v + 1 where {some}"),
            5 => {
                let to = dice.pick(&["eu", "us", "as"]);
                format!("update parts set region = '{to}', v = v + 1 where {some}")
            }
            6 => format!("update parts set day = (day + 7) % 20 where {some}"),
            // Within one leaf or out of it, by the middle of the tree.
            7 => format!(
                "update parts_eu set day = (day + 3) % 20 where id % 3 = {}",
                day % 3
            ),
            8 => format!("delete from parts where {some} and id % 2 = {}", day % 2),
            9 => format!("delete from {leaf} where v > 1"),
            _ => format!(
                // Of rows that have moved on since the snapshot, this makes new ones.
                "insert into parts select id, region, day, v + 10, '{}-' || id from parts \
                 where {some} on conflict (id, region, day) do update set v = excluded.v",
                self.uid()
            ),
        }]
    }

    /// Parent and child tables are kept apart by their ids.
    fn base(&mut self, dice: &mut Dice) -> Vec<String> {
        let id = dice.below(6);
        vec![match dice.below(8) {
            0 => format!(
                "insert into base values ({id}, 0, '{}') on conflict (id) do update set v = base.v + 1",
                self.uid()
            ),
            1 | 2 => format!(
                "insert into derived values ({}, 0, '{}', 'more') on conflict do nothing",
                100 + id,
                self.uid()
            ),
            3 => format!("update base set v = v + 1 where id % 2 = {}", id % 2),
            4 => format!(
                "update only base set id = {} where id = {id}",
                dice.below(6)
            ),
            5 => format!(
                "update derived set extra = extra || '.' where id % 2 = {}",
                id % 2
            ),
            6 => {
                return swap(
                    "derived",
                    "id",
                    &format!("id = {}", 100 + id),
                    100 + id,
                    100 + dice.below(6),
                    "",
                );
            }
            _ => format!("delete from base where id % 3 = {}", id % 3),
        }]
    }

    fn family(&mut self, dice: &mut Dice) -> Vec<String> {
        let id = dice.below(6);
        vec![match dice.below(10) {
            0 | 1 => format!(
                "insert into parents values ({id}, 0, '{}'), ({}, 1, '{}') on conflict do nothing",
                self.uid(),
                id + 1,
                self.uid()
            ),
            2 | 3 => {
                let rows: Vec<String> = (0..=dice.below(3))
                    .map(|n| format!("({n}, '{}')", self.uid()))
                    .collect();
                format!(
                    "insert into children select id, s.n, 0, s.uid from parents, \
                     (values {}) as s (n, uid) where id = {id} on conflict do nothing",
                    rows.join(", ")
                )
            }
            4 => format!("delete from parents where id = {id}"),
            5 => format!("delete from parents where id % 2 = {}", id % 2),
            6 => format!("update parents set id = {} where id = {id}", dice.below(8)),
            7 => format!("update children set v = v + 1, n = n + 10 where parent = {id}"),
            8 => format!("update parents set v = v where id >= {id}"),
            _ => format!("delete from children where n = {}", dice.below(3)),
        }]
    }

    fn mixed(&mut self, dice: &mut Dice) -> Vec<String> {
        let id = dice.below(5);
        vec![match dice.below(5) {
            0 => format!("insert into mixed values ({id}, 0, '{}')", self.uid()),
            1 => format!("update mixed set v = v + 1 where id <= {id}"),
            2 => format!("update mixed set id = {} where id = {id}", dice.below(5)),
            3 => format!("delete from mixed where id = {id}"),
            _ => format!(
                "insert into \"Mixed Case\" values ({id}, 5, '{}') \
                 on conflict (\"Key \"\"Col\") do update set v = excluded.v",
                self.uid()
            ),
        }]
    }

    /// One statement that writes several tables.
    fn several(&mut self, dice: &mut Dice) -> Vec<String> {
        let (a, id) = (dice.below(6), dice.below(6));
        vec![format!(
            "with gone as (delete from items where a = {a} returning v), \
                 older as (update base set v = v + 1 where id = {id} returning id), \
                 moved as (update parts set region = 'us' where region = 'eu' returning id), \
                 orphans as (delete from parents where id = {id} returning id) \
             insert into \"Mixed Case\" values ({}, 7, '{}') on conflict do nothing",
            10 + id,
            self.uid()
        )]
    }

    fn truncate(&mut self, dice: &mut Dice) -> Write {
        const CHOICES: [(&str, &[&str]); 9] = [
            ("items", &["t.item"]),
            ("parts", &["t.part"]),
            ("parts_eu", &["t.part"]),
            ("parts_eu_1, parts_us", &["t.part"]),
            ("parts_as", &["t.part"]),
            ("only base", &["t.base"]),
            ("base", &["t.base"]),
            ("parents cascade", &["t.parent", "t.child"]),
            ("children, \"Mixed Case\"", &["t.child", "t.mixed"]),
        ];
        let (tables, truncates) = dice.pick(&CHOICES);
        Write {
            sql: format!("truncate {tables}"),
            truncates: match tables {
                // Then it is a table of nobody's.
                "parts_as" if !self.is_attached => &[],
                _ => truncates,
            },
        }
    }
}

/// Exchanges two keys, by way of a third.
fn swap(table: &str, column: &str, one: &str, from: usize, to: usize, more: &str) -> Vec<String> {
    let key = |to: usize, condition: String| {
        format!("update {table} set {column} = {to} where {condition}")
    };
    vec![
        key(99, one.to_owned()),
        key(from, format!("{column} = {to} {more}")),
        key(to, format!("{column} = 99 {more}")),
    ]
}
