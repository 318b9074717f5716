//! A value or more of every type that a column can have.

/// A type as a column has it, and expressions that give values of it.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) values: &'static [&'static str],
}

const fn kind(name: &'static str, values: &'static [&'static str]) -> Kind {
    Kind { name, values }
}

/// Types of users.
pub(super) const TYPES: &str = "
    create type public.mood as enum ('good', 'not so good', 'b\"a''d');
    create domain public.amount as numeric(12, 2) check (value > -1000);
    create domain public.at as timestamptz;
    create type public.pair as (n integer, \"T x\" text);
    create type public.nest as (p public.pair, a timestamptz[], m public.mood, b bytea);
    create domain public.pair_domain as public.pair;
    create domain public.many as integer[];
    create type public.span as range (subtype = float8);
    create type public.mood_range as range (subtype = public.mood)";

/// Built-in types in the order of their names, then users' own.
pub(super) const KINDS: [Kind; 94] = [
    kind("aclitem", &["makeaclitem(10, 10, 'SELECT', true)"]),
    kind("bit(3)", &["b'101'", "b'000'"]),
    kind("varbit", &["b''", "b'10101010101'"]),
    kind("bool", &["true", "false"]),
    kind(
        "box",
        &["'(0.1,1e300),(-1e-300,3)'", "'(Infinity,1),(0,0)'"],
    ),
    kind("bpchar(4)", &["'a'", "''", "'ä b'"]),
    kind("bytea", &["'\\x00ff5c27'", "''"]),
    kind("\"char\"", &["'x'", "''", "'\\377'::\"char\""]),
    kind("cid", &["'4294967295'"]),
    kind("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    kind("circle", &["'<(0.1,2),0.3>'"]),
    kind(
        "date",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'2026-02-28'",
        ],
    ),
    kind(
        "datemultirange",
        &["'{[2026-01-01,2026-01-05),[2026-02-01,)}'"],
    ),
    kind(
        "daterange",
        &["'[2026-01-01,infinity]'", "'empty'", "'(,)'"],
    ),
    kind(
        "float4",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.1",
            "1e-38",
            "3.4028235e38",
            "'-0'",
        ],
    ),
    kind(
        "float8",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
            "'-0'",
        ],
    ),
    kind("inet", &["'192.168.0.1/24'", "'::1'"]),
    kind("int2", &["-32768", "32767"]),
    kind("int2vector", &["'1 2 3'", "''"]),
    kind("int4", &["-2147483648", "2147483647"]),
    kind("int4multirange", &["'{[1,3),[5,)}'", "'{}'"]),
    kind("int4range", &["'[1,3)'", "'empty'"]),
    kind("int8", &["'-9223372036854775808'", "9223372036854775807"]),
    kind("int8multirange", &["'{[1,9223372036854775807)}'"]),
    kind("int8range", &["'(,9223372036854775807)'"]),
    kind(
        "interval",
        &[
            "'1 mon 2 days -03:04:05.678901'",
            "'-178000000 years'",
            "'0'",
        ],
    ),
    kind(
        "json",
        // Not null, which in a row's JSON is the same as no value.
        &["'{\"a\" : 1.10, \"a\": [\"\\u00e4\"]}'", "'{ }'"],
    ),
    kind(
        "jsonb",
        &["'{}'", "'{\"b\": 1.10, \"a\": {}}'", "'1e400'", "'\"\"'"],
    ),
    kind("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    kind("line", &["'{1.5,-2,0.1}'"]),
    kind("lseg", &["'[(0.1,0.2),(3,4)]'"]),
    kind("macaddr", &["'08:00:2b:01:02:03'"]),
    kind("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    kind(
        "money",
        &["'1234567.89'::numeric::money", "'-0.01'::numeric::money"],
    ),
    kind("name", &["'n\"a me'"]),
    kind(
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.10",
            "1e-300",
            "1e300",
            "12345678901234567890.123456789",
        ],
    ),
    kind("nummultirange", &["'{[0.10,0.2),(3,)}'"]),
    kind("numrange", &["'[0.10,0.2)'", "'[NaN,NaN]'"]),
    kind("oid", &["4294967295"]),
    kind("oidvector", &["'1 4294967295'", "''"]),
    kind("path", &["'[(0,0.1),(1,1)]'", "'((0,0),(1,1),(2,0))'"]),
    kind("pg_lsn", &["'FFFFFFFF/FFFFFFFF'", "'0/0'"]),
    kind("pg_snapshot", &["'10:20:10,14,15'"]),
    kind("point", &["'(0.1,-1e300)'", "'(NaN,Infinity)'"]),
    kind("polygon", &["'((0,0),(1.5,1),(2,0))'"]),
    kind("refcursor", &["'a cursor'"]),
    kind("regclass", &["'pg_catalog.pg_class'", "'public.rows'", "0"]),
    kind("regcollation", &["'pg_catalog.\"C\"'"]),
    kind("regconfig", &["'pg_catalog.english'"]),
    kind("regdictionary", &["'pg_catalog.simple'"]),
    kind("regnamespace", &["'public'"]),
    kind("regoper", &["'pg_catalog.||/'", "0"]),
    kind("regoperator", &["'+(int4,int4)'", "'-(NONE,int4)'"]),
    kind("regproc", &["'pg_catalog.now'", "0"]),
    kind("regprocedure", &["'abs(numeric)'"]),
    kind("regrole", &["10"]),
    kind("regtype", &["'public.mood'", "'timestamp with time zone'"]),
    kind(
        "text",
        &[
            "''",
            "e'\\x01\\x1f\\x7f\\b\\t\\n\\r\\\\\"/'",
            "'ä日本😀'",
            "'\\u0000'",
            "e'\\u2028'",
        ],
    ),
    kind("tid", &["'(4294967294,65535)'"]),
    kind("time", &["'24:00:00'", "'00:00:00.000001'"]),
    kind(
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'2026-03-29 02:30:00.123456'",
        ],
    ),
    kind(
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'2026-03-29 01:30:00.123456Z'",
            "'0044-03-15 12:00:00Z BC'",
        ],
    ),
    kind("timetz", &["'12:00:00.5+05:45'", "'24:00:00-15:59'"]),
    kind("tsmultirange", &["'{[2026-01-01,2026-01-02 03:04:05.6)}'"]),
    kind("tsquery", &["'''a b'' & !c:*A | d <-> e'"]),
    kind(
        "tsrange",
        &["'[2026-01-01 00:00:00.5,infinity)'", "'[0044-03-15 BC,)'"],
    ),
    kind("tstzmultirange", &["'{[2026-01-01Z,2026-01-02Z)}'"]),
    kind("tstzrange", &["'[2026-01-01 00:00:00Z,)'"]),
    kind("tsvector", &["'''it''''s'':1A,2 b'", "''"]),
    kind("txid_snapshot", &["'10:20:10,14,15'"]),
    kind("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    kind("varchar(5)", &["'abcde'", "''"]),
    kind("xid", &["'4294967295'"]),
    kind("xid8", &["'18446744073709551615'"]),
    kind("xml", &["'<a b=\"1\">x &amp; \"y\"</a>'", "'just text'"]),
    kind("numeric(12,2)", &["1.5", "-0.00"]),
    kind("timestamptz(0)", &["'2026-01-01 00:00:00.6Z'"]),
    kind("interval day to second", &["'1 02:03:04.5'"]),
    kind("varchar(3)[]", &["array['a,b', null, '\"']", "'{}'"]),
    kind("int4[][]", &["array[[1,2],[3,null]]"]),
    kind("float8[]", &["array['NaN', 0.1, '-Infinity']::float8[]"]),
    kind("json[]", &["array['{\"a\": 1}', '{\"b\": 2}']::json[]"]),
    kind("public.mood", &["'good'", "'b\"a''d'"]),
    kind(
        "public.mood[]",
        &["array['not so good', null]::public.mood[]"],
    ),
    kind("public.amount", &["1.5", "-999.99"]),
    kind("public.amount[]", &["array[1.5, null]::public.amount[]"]),
    kind("public.at", &["'2026-01-01 00:00:00Z'"]),
    kind("public.pair", &["row(1, 'a,\"b)')", "row(null, null)"]),
    kind(
        "public.pair[]",
        &["array[row(1, '{'), null]::public.pair[]"],
    ),
    kind(
        "public.nest",
        &["row(row(1, 'x'), array['2026-01-01Z'::timestamptz], 'good', '\\xff')::public.nest"],
    ),
    kind("public.pair_domain", &["row(7, '')"]),
    kind("public.many", &["array[1, null, 3]"]),
    kind("public.span", &["'[0.1,Infinity)'::public.span", "'empty'"]),
    kind("public.mood_range", &["'[good,\"not so good\"]'"]),
];

/// Types of Postgres' own that take no value from outside.
pub(super) const WITHOUT_INPUT: [&str; 7] = [
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];
