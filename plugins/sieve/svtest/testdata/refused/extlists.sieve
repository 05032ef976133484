require ["extlists"];
if header :list "x" {}
if valid_ext_list {}
if header :list :is "x" "y" {}
