squeue -h -t all --me -o 'NONCE|%i|%F|%K|%A|%T|%r|%S|%e|%V|%N|%D|%P|%q|%a|%l|%C|%u|%j'
