#!/bin/sh
# Create the roles and databases of Prefect and MLflow; what is there stays, but for the passwords, which are set anew.
# The postgres image runs it once, on an empty volume. By hand, also to change the passwords:
#     PGHOST=... PGUSER=postgres PGPASSWORD=... POSTGRES_PREFECT_PASSWORD=... POSTGRES_MLFLOW_PASSWORD=... databases.sh
# Passwords are read from the environment inside psql, so no command line shows them.
set -eu
: "${POSTGRES_PREFECT_PASSWORD:?is not set: the password of the role prefect}"
: "${POSTGRES_MLFLOW_PASSWORD:?is not set: the password of the role mlflow}"
exec psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-${PGUSER:-postgres}}" --dbname=postgres <<'SQL'
\getenv prefect_password POSTGRES_PREFECT_PASSWORD
\getenv mlflow_password POSTGRES_MLFLOW_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['prefect', 'mlflow']) AS name
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE prefect PASSWORD :'prefect_password';
ALTER ROLE mlflow PASSWORD :'mlflow_password';
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
    FROM (VALUES ('prefect', 'prefect'), ('mlflow', 'mlflow'), ('mlflow_auth', 'mlflow')) AS wanted (name, owner)
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
-- Each role sees its own databases only.
REVOKE CONNECT ON DATABASE prefect, mlflow, mlflow_auth FROM PUBLIC;
SQL
