require ["vnd.dovecot.report"];
report "abuse" "x";
report "abuse" "x" "nobody";
