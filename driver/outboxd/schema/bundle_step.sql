DELIMITER $$

CREATE PROCEDURE outboxd_bundle_step ()
BEGIN
  DECLARE v_missing BOOLEAN;
  CALL outboxd_bundle_misses({version}, v_missing);
  IF v_missing THEN
{statements}
  END IF;
END $$

DELIMITER ;

CALL outboxd_bundle_step();
DROP PROCEDURE outboxd_bundle_step;

