-- What the API and its workers need; may be run any number of times.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS texts (name text PRIMARY KEY, done text NOT NULL);
