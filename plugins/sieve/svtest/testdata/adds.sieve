require "editheader";
addheader "X-First" "was here";
