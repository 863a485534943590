-- A change of the catalog says whose it is, so that caches keep what they know of other workspaces.

-- The version of the catalog that changed the workspace, or anything of it, last.
ALTER TABLE nahook_workspace ADD COLUMN changed_in INTEGER NOT NULL DEFAULT 0;
CREATE INDEX nahook_workspace_by_change ON nahook_workspace (changed_in);
-- How many of the versions say whose change they are. Where `version` is raised alone, any workspace may have changed.
ALTER TABLE nahook_catalog_state ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
