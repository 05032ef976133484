require ["editheader", "variables"];
set "x" "X-Bad:";
addheader "${x}" "y";
