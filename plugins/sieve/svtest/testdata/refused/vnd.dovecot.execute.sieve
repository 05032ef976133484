require ["vnd.dovecot.execute"];
execute "../x";
execute;
execute :input "a" :pipe "x";
