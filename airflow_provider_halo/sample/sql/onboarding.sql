-- One row a user: the milestones, and the first one that is still ahead.
SELECT
  m.user_id,
  m.team_id,
  m.has_created_form,
  m.has_published_form,
  m.has_connected_integration,
  m.has_booked_meeting,
  CASE
    WHEN m.has_created_form = 0 THEN 'Create a first form'
    WHEN m.has_published_form = 0 THEN 'Publish the form'
    WHEN m.has_booked_meeting = 0 THEN 'Set up a scheduling page and book a first meeting'
    WHEN m.has_connected_integration = 0 THEN 'Connect an integration'
    ELSE 'Nothing: all steps are done'
  END AS next_step
FROM (
  SELECT
    u.id AS user_id,
    u.team_id,
    MAX(CASE WHEN e.event = 'form_created' THEN 1 ELSE 0 END) AS has_created_form,
    MAX(CASE WHEN e.event = 'form_published' THEN 1 ELSE 0 END) AS has_published_form,
    MAX(CASE WHEN e.event = 'integration_connected' THEN 1 ELSE 0 END) AS has_connected_integration,
    MAX(CASE WHEN e.event = 'meeting_booked' THEN 1 ELSE 0 END) AS has_booked_meeting
  FROM users u
  LEFT JOIN onboarding_events e ON e.user_id = u.id
  GROUP BY u.id, u.team_id
) m
