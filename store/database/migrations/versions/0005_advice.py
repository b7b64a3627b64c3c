"""what a team wants of a project, what is advised, and what was accepted unseen"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('goal',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('accuracy', sa.Double(), nullable=True),
    sa.Column('accept_error', sa.Double(), nullable=True),
    sa.Column('accept_writes', sa.Boolean(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_goal_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_goal'))
    )
    op.create_table('advice',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('found', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_advice_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_advice'))
    )
    op.create_table('acceptance',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('task_ls_id', sa.Integer(), nullable=False),
    sa.Column('version_id', sa.Integer(), nullable=False),
    sa.Column('confidence', sa.Double(), nullable=False),
    sa.Column('result', sa.JSON(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('annotation_ls_id', sa.Integer(), nullable=True),
    sa.Column('at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_acceptance_project_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['version_id'], ['version.id'], name=op.f('fk_acceptance_version_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', 'task_ls_id', name=op.f('pk_acceptance'))
    )


def downgrade() -> None:
    op.drop_table('acceptance')
    op.drop_table('advice')
    op.drop_table('goal')
