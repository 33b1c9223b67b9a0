-- The table of the API and its workers. Running this file again changes nothing.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS texts (name text PRIMARY KEY, done text NOT NULL);
