require ["vnd.dovecot.environment", "environment", "variables"];
set "env.name" "y";
