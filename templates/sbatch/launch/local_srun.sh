ty_launch() { ty_ranks; }

{% include "sbatch/launch/local_ranks.sh" %}
