-- The tables of the app: what hr-to-sql.yaml keeps in step. On SQLite, and on PostgreSQL with "serial" in the place of
-- "integer ... AUTOINCREMENT".

CREATE TABLE account (
  id integer PRIMARY KEY AUTOINCREMENT,
  user_name text NOT NULL UNIQUE,
  employee_id text UNIQUE,
  active boolean NOT NULL DEFAULT true,
  display_name text,
  given_name text,
  family_name text,
  mail text,
  title text,
  city text,
  country text,
  language text,
  employee_number text,
  company text,
  department text,
  cost_center text,
  manager_id integer REFERENCES account (id)
);

CREATE TABLE team (
  id integer PRIMARY KEY AUTOINCREMENT,
  name text NOT NULL UNIQUE,
  external_id text UNIQUE
);

CREATE TABLE team_member (
  team_id integer NOT NULL REFERENCES team (id) ON DELETE CASCADE,
  account_id integer NOT NULL REFERENCES account (id) ON DELETE CASCADE,
  PRIMARY KEY (team_id, account_id)
);
